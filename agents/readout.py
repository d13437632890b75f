"""The scripted expert without privileges: it acts on what the checkpoint reads out of frames, real or imagined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sfvgen_plan.agents.expert import expert_of
from sfvgen_plan.agents.prior import ReactiveAgent
from sfvgen_plan.envs.family import family_of, resolve


class ReadoutExpert(ReactiveAgent):
    """Plays a simulator's scripted experts on the read-outs of the newest frame (a ``BatchAgent``).

    Read-outs have no orientations and no second object, so tasks whose policy needs those are beyond it.

    Args:
        simulator: follows the episodes, and has ``read(state)``, which gives the ``Outcome`` of the newest frame
            (G = 1) with the read-outs of the tasks' simulator.
    """

    def __init__(self, simulator: Any) -> None:
        super().__init__(simulator)
        self._policies: dict[int, Callable[[np.ndarray], np.ndarray]] = {}

    def reset(self, lanes: Sequence[int], tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Start new episodes in ``lanes``.

        Raises:
            UserError: a task that has no scripted policy.
        """
        super().reset(lanes, tasks, seeds)
        self._policies.update({int(lane): policy_of(task) for lane, task in zip(lanes, tasks, strict=True)})

    def answer(self, lanes: Sequence[int], state: Any) -> np.ndarray:
        """Actions (E, 4) in [-1, 1]."""
        estimates = self.simulator.read(state).estimates[:, -1].float().cpu().numpy()
        return np.stack([self._policies[int(lane)](e) for lane, e in zip(lanes, estimates, strict=True)])


def policy_of(task: str) -> Callable[[np.ndarray], np.ndarray]:
    """The task's scripted expert as a function of read-outs (D,)."""
    expert: Any = expert_of(task)
    state_of = resolve(family_of(task).state_of)
    return lambda estimates: expert.act_on_state(state_of(estimates))
