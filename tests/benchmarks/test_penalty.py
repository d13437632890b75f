"""Signals of what a model does not know, against its true errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sfvgen_plan.benchmarks.fidelity.penalty import ERRORS, correlations, measured
from sfvgen_plan.benchmarks.running.episodes import Job, Recording
from sfvgen_plan.model.checkpoint import load_checkpoint


def recording(seed: int, decisions: int = 5) -> Recording:
    random = np.random.default_rng(seed)
    frames = random.integers(0, 255, (decisions + 1, 32, 32, 3), np.uint8)
    infos = tuple({"estimates": random.uniform(0, 1, 10).astype(np.float32)} for _ in frames)
    actions = random.uniform(-1, 1, (decisions, 4)).astype(np.float32)
    return Recording(Job("reach-v3", seed), frames, np.zeros(decisions + 1, bool), actions, infos=infos)


def test_every_stretch_has_its_signals_and_errors(small_checkpoint: Path) -> None:
    checkpoint = load_checkpoint(small_checkpoint)
    simulators = [checkpoint.simulator(steps) for steps in (1, 2)]
    found = measured(simulators, [recording(1), recording(2), recording(3)], horizon=2)
    assert {len(values) for values in found.values()} == {3 * 2}  # two whole stretches of each
    assert set(ERRORS) < set(found) and all(np.isfinite(values).all() for values in found.values())
    assert all((found[name] > 0).all() for name in ("latents", "hand_cm", "seeds", "round trip"))
    again = measured(simulators, [recording(1), recording(2), recording(3)], horizon=2)
    np.testing.assert_allclose(found["seeds"], again["seeds"], atol=1e-6)


def test_a_signal_that_ranks_errors_has_correlation_one() -> None:
    error = np.array([3.0, 1.0, 2.0, 4.0])
    values = {"good": error**2, "bad": -error, "latents": error, "hand_cm": error, "object_cm": error}
    rows = correlations({"expert": values, "random": values})
    assert {(row["signal"], row["rank_correlation"]) for row in rows} == {("good", 1.0), ("bad", -1.0)}
    assert {(row["played_by"], row["stretches"]) for row in rows} == {("expert", 4), ("random", 4), ("all", 8)}
