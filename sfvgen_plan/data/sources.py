"""What the numbers of episodes mean, and under which terms they may be used, by the simulator that they come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sfvgen_plan.data.rlbench_state import ESTIMATE_NAMES, TASK_PREFIX
from sfvgen_plan.simulation import STATE_NAMES

RLBENCH_LICENCE = (
    "RLBench, Copyright Imperial College London, made available for use under licence from Imperial College London "
    "(RLBench licence agreement): solely non-commercial, internal or academic research. RLBench is the source of these "
    "data. Use what is made from them under the same terms, keep this notice with it, and give Imperial College London "
    "a copy of any publication that shows results or data from them (clause 2(f)). Source: James, Ma, Rovick Arrojo, "
    "Davison, RLBench: The Robot Learning Benchmark & Learning Environment, IEEE RA-L 2020."
)


@dataclass(frozen=True)
class Source:
    """A simulator, as training sees it.

    Attributes:
        readouts: names of the state numbers ("estimates").
        reward_scale: largest reward of a decision.
        raw_steps_per_second: for videos; nominal for RLBench, whose decisions take as long as they need.
        licence: notice that goes with data and with checkpoints trained on them; empty where none has to.
    """

    readouts: tuple[str, ...]
    reward_scale: float
    raw_steps_per_second: int
    licence: str = ""


SAWYER = Source(STATE_NAMES, 10.0, 80)
"""Metaworld, and the memory tasks on its table."""
RLBENCH = Source(ESTIMATE_NAMES, 1.0, 10, RLBENCH_LICENCE)


def source_of(tasks: Iterable[str]) -> Source:
    """Where episodes of these tasks come from. Those of different simulators never share a dataset."""
    return RLBENCH if all(task.startswith(TASK_PREFIX) for task in tasks) else SAWYER
