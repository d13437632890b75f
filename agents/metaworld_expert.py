"""Metaworld's scripted policies."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from sfvgen_plan.agents.base import Stateless
from sfvgen_plan.envs.metaworld.family import FAMILY
from sfvgen_plan.envs.rendering import import_mujoco


class MetaworldExpert(Stateless):
    """Metaworld's policy of one task (an ``EnvAgent``): it reads the true state, never the frame.

    Raises:
        UserError: unknown task.
    """

    def __init__(self, task: str) -> None:
        name = FAMILY.canonical(task)
        import_mujoco()
        from metaworld.policies import ENV_POLICY_MAP  # imports all of Metaworld: only when an expert is played

        policy: Any = ENV_POLICY_MAP[name]
        self._policy = policy()

    def act(self, env: Any) -> np.ndarray:
        return self.act_on_state(env.state)

    def act_on_state(self, state: np.ndarray) -> np.ndarray:
        """Metaworld's observation with the goal visible (39,) -> action (4,) float32 in [-1, 1]."""
        with warnings.catch_warnings():
            # The policies warn that their gains saturate the action; clipping is what they are meant for.
            warnings.simplefilter("ignore")
            action = self._policy.get_action(state)
        return np.clip(np.asarray(action, dtype=np.float32), -1.0, 1.0)
