"""Metaworld's scripted policies."""

import warnings
from typing import Any

import numpy as np

from sfvgen_plan.agents.base import Stateless
from sfvgen_plan.envs.metaworld.family import FAMILY
from sfvgen_plan.envs.metaworld.snapshots import capture, restore
from sfvgen_plan.envs.rendering import import_mujoco


class MetaworldExpert(Stateless):
    """Metaworld's policy of one task (an ``EnvAgent``): it reads the true state, never the frame.

    The policies are written for an action every raw step; the first one, held for a whole decision, overshoots and
    grips too early. So the expert looks ahead: it lets the policy play the decision's raw steps, and answers the mean
    of their actions, which moves the hand to the same place. Raises UserError: unknown task.
    """

    def __init__(self, task: str) -> None:
        name = FAMILY.canonical(task)
        import_mujoco()
        from metaworld.policies import ENV_POLICY_MAP  # imports all of Metaworld: only when an expert is played

        policy: Any = ENV_POLICY_MAP[name]
        self._policy = policy()

    def act(self, env: Any) -> np.ndarray:
        return self.act_misled(env, np.zeros_like(env.state))

    def act_misled(self, env: Any, error: np.ndarray) -> np.ndarray:
        """The same if the policy believes that the state is off by ``error`` (39,)."""
        state, moment, actions = env.state, capture(env.raw), []
        for _ in range(env.repeat):
            actions.append(self.act_on_state(state + error))
            state = np.asarray(env.raw.step(actions[-1])[0])
        restore(env.raw, moment)
        return np.mean(actions, axis=0)

    def act_on_state(self, state: np.ndarray) -> np.ndarray:
        """Metaworld's observation with the goal visible (39,) -> action (4,) float32 in [-1, 1]."""
        with warnings.catch_warnings():
            # The policies warn that their gains saturate the action; clipping is what they are meant for.
            warnings.simplefilter("ignore")
            action = self._policy.get_action(state)
        return np.clip(np.asarray(action, dtype=np.float32), -1.0, 1.0)
