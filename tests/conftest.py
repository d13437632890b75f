"""Test options, and the process-wide settings that must be made before torch and MuJoCo are imported."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest

from sfvgen_plan.errors import UserError

# Software rendering and torch's thread pool fight over the cores; one thread each is several times faster.
os.environ.setdefault("OMP_NUM_THREADS", "1")

OPT_IN = {
    "slow": "takes minutes",
    "gpu": "needs a CUDA device",
    "rlbench": "needs CoppeliaSim and RLBench",
}
"""Markers of tests that the default run skips: `--run-<marker>` or `-m <marker>` brings them in."""


def pytest_addoption(parser: pytest.Parser) -> None:
    for marker, reason in OPT_IN.items():
        parser.addoption(f"--run-{marker}", action="store_true", help=f"run tests marked {marker}: {reason}")


def pytest_configure(config: pytest.Config) -> None:
    for marker, reason in OPT_IN.items():
        config.addinivalue_line("markers", f"{marker}: {reason}; skipped unless --run-{marker} or -m {marker}")
    # Without a graphics library the tests that draw fail one by one, with this same message.
    with suppress(UserError):
        from sfvgen_plan.envs.rendering import gl_backend

        gl_backend()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for marker, reason in OPT_IN.items():
        if config.getoption(f"--run-{marker}") or marker in config.option.markexpr:
            continue
        skip = pytest.mark.skip(reason=f"{reason}: add --run-{marker}")
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(skip)
