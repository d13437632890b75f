"""``sfvgen-plan doctor``: can this machine do the main job, and with what."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from sfvgen_plan.errors import install_command

if TYPE_CHECKING:
    from sfvgen_plan.envs.family import Family

HELP = "check versions, graphics library, device and bundled checkpoint; exit 0 when `eval` can run, else 1"

REQUIRED = ("torch", "diffusers", "transformers", "peft", "gymnasium", "metaworld", "mujoco", "minari", "hydra-core")
OPTIONAL = {
    "stable-baselines3": "sb3",
    "gradio": "play",
    "ray": "ray",
    "tensorboard": "log",
    "pyarrow": "parquet",
    "torchmetrics": "metrics",
    "scenedetect": "metrics",
}
"""Packages of the extras, and the extra that installs them."""

DISTRIBUTIONS = {"scenedetect": ("scenedetect-headless", "scenedetect")}
"""Of packages that come under several names, each of which will do."""


@dataclass(frozen=True)
class Check:
    """One line of the report. ``needed`` checks decide the exit code."""

    name: str
    ok: bool
    detail: str
    needed: bool = True

    def line(self) -> str:
        """As a line of text: a check mark, a cross, or a dash for what is missing but not needed."""
        mark = "✓" if self.ok else "✗" if self.needed else "-"
        return f"{mark} {self.name:<18} {self.detail}"


def add_arguments(parser: ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--simulator", metavar="NAME", help="check only what it needs: metaworld, memory or rlbench")


def run(args: Namespace) -> int:
    """Print the report; 0 when every needed check holds, else 1."""
    from sfvgen_plan.console import Output
    from sfvgen_plan.envs.family import families, family

    simulator = families()[0] if args.simulator is None else family(args.simulator)
    checks = check_simulator(simulator)
    if args.simulator is None:
        checks = [*check_packages(), *checks, check_device(), check_checkpoint()]
    ready = all(check.ok for check in checks if check.needed)
    verdict = f"ready for {simulator.title}" if ready else "not ready: mend the lines marked ✗"
    lines = [check.line() for check in checks]
    data = {"ready": ready, "checks": [asdict(check) for check in checks]}
    Output.of(args).result(data, "\n".join([*lines, verdict]))
    return 0 if ready else 1


def check_packages() -> list[Check]:
    """The installed version of every package that matters."""
    checks = []
    for name in REQUIRED:
        version = _version(name)
        checks.append(Check(name, version is not None, version or f"missing: pip install {name}"))
    for name, extra in OPTIONAL.items():
        version = _version(name)
        remedy = f"not installed (optional): {install_command(extra)}"
        checks.append(Check(name, version is not None, version or remedy, needed=False))
    return checks


def _version(name: str) -> str | None:
    for distribution in DISTRIBUTIONS.get(name, (name,)):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(distribution)
    return None


def check_device() -> Check:
    """The GPU if torch sees one, else the CPU."""

    def describe() -> str:
        import torch

        if torch.cuda.is_available():
            memory = torch.cuda.get_device_properties(0).total_memory / 2**30
            return f"cuda: {torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, {memory:.0f} GiB"
        return f"cpu: {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"

    return _attempt("device", describe, "reinstall torch")


def check_checkpoint(folder: Path | None = None) -> Check:
    """The checkpoint that comes with the package, or the one in ``folder``: whether all of it can be loaded, and what
    the agent of `eval` makes of it."""

    def describe() -> str:
        from sfvgen_plan.model.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(folder)
        checkpoint.simulator()
        checkpoint.prior()
        size = sum(path.stat().st_size for path in checkpoint.path.rglob("*") if path.is_file()) / 1e6
        tasks = checkpoint.tasks
        return f"{checkpoint.path.name}, {size:.1f} MB, {len(tasks)} tasks: {', '.join(tasks)}"

    return _attempt("checkpoint", describe, "reinstall sfvgen-plan")


def check_simulator(family: Family) -> list[Check]:
    """What the simulator needs on this machine."""
    from sfvgen_plan.envs.family import resolve

    return [Check(*found) for found in resolve(family.examine)()] if family.examine else []


def _attempt(name: str, describe: Callable[[], str], remedy: str) -> Check:
    try:
        return Check(name, True, describe())
    except Exception as error:  # A doctor reports whatever is broken, in whatever way.
        reason = " ".join(str(error).split()) or type(error).__name__
        return Check(name, False, reason if remedy in reason else f"{reason}; {remedy}")
