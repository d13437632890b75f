"""Rows of a fidelity run: one of each policy, task and seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sfvgen_plan.benchmarks.results.files import Rows

FILE = "fidelity.csv"


@dataclass(frozen=True)
class FidelityRow:
    """One episode in both simulators. ``decisions`` are those played, ``reward`` is the mean over them,
    ``imagined_peak`` the largest success probability."""

    policy: str
    kind: str
    task: str
    seed: int
    real_success: bool = False
    imagined_success: bool = False
    real_decisions: int = 0
    imagined_decisions: int = 0
    real_reward: float = 0.0
    imagined_reward: float = 0.0
    imagined_peak: float = 0.0
    error: str = ""


def rows_in(folder: Path) -> Rows[FidelityRow]:
    """The rows in a folder."""
    return Rows(folder / FILE, FidelityRow, ("policy", "task", "seed"))
