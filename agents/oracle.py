"""The oracle: the same search as the learned simulator's, in the true one, which is put behind the same contract. It
bounds what planning can reach."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfvgen_plan.agents.base import PlanCost
from sfvgen_plan.agents.planning import Planner, PlanningAgent
from sfvgen_plan.envs.family import family_of, resolve
from sfvgen_plan.envs.sawyer import ACTION_SIZE, SOURCE
from sfvgen_plan.simulation import Outcome, as_long


@dataclass(frozen=True)
class TrueState:
    """N moments of the true simulator: snapshots, and whether the task was solved on the way there."""

    snapshots: tuple[Any, ...]
    solved: tuple[bool, ...]


class TrueSimulator:
    """Metaworld as a ``Simulator``, of a task of it or a goal in its scenes: exact, deterministic, one episode after
    the other on the CPU. Reward and success are read at the last raw step of each decision; evaluating them at every
    raw step, as the environment does, would cost three times as much."""

    action_dim = ACTION_SIZE
    device = torch.device("cpu")

    def __init__(self, task: str, repeat: int = 5) -> None:
        self.env = family_of(task).make(task, size=1, repeat=1, render_mode=None, pixels=False).unwrapped
        self.repeat = repeat
        self.env.reset(seed=0)

    def begin_at(self, snapshots: Sequence[Any]) -> TrueState:
        """N episodes from ``snapshot()`` of the task's environment: frames don't tell the true state."""
        return TrueState(tuple(snapshots), (False,) * len(snapshots))

    def imagine(self, state: TrueState, actions: Tensor) -> tuple[TrueState, Outcome]:
        """Execute actions (N, G, A). The value is 1 once solved, before that the share of the largest reward."""
        played = [
            self._play(snapshot, solved, plan)
            for snapshot, solved, plan in zip(state.snapshots, state.solved, actions.cpu().numpy(), strict=True)
        ]
        snapshots, reward, success, estimates = zip(*played, strict=True)
        rewards, successes = torch.tensor(np.array(reward)), torch.tensor(np.array(success))
        latched = successes.cummax(1).values.maximum(torch.tensor(state.solved)[:, None].float())
        outcome = Outcome(
            reward=rewards,
            success=successes,
            value=latched.maximum(rewards / SOURCE.reward_scale),
            estimates=torch.tensor(np.array(estimates)),
        )
        return TrueState(snapshots, tuple(bool(solved) for solved in latched[:, -1])), outcome

    def fork(self, state: TrueState, copies: int) -> TrueState:
        """Each episode ``copies`` times."""
        return self.select(state, [index for index in range(len(state.snapshots)) for _ in range(copies)])

    def select(self, state: TrueState, index: Sequence[int] | Tensor) -> TrueState:
        """The episodes named, in that order."""
        named = as_long(index).tolist()
        return TrueState(tuple(state.snapshots[i] for i in named), tuple(state.solved[i] for i in named))

    def reseed(self, state: TrueState, seeds: Sequence[int] | Tensor) -> TrueState:
        """The same: there is only one future."""
        return state

    def _play(self, snapshot: Any, solved: bool, plan: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        """End snapshot, reward (G,), success (G,) and estimates (G, D) of one episode's plan (G, A)."""
        self.env.restore(snapshot)
        raw = self.env.raw
        reward, success, estimates = [], [], []
        for action in plan:
            for _ in range(self.repeat - 1):
                raw.set_xyz_action(action[:3])
                raw.do_simulation([action[3], -action[3]], raw.frame_skip)
            _, dense, _, _, info = self.env.step(action)
            reward.append(dense)
            success.append(info["success"])
            estimates.append(info["estimates"])
        return self.env.snapshot(), *(np.asarray(one, np.float32) for one in (reward, success, estimates))


class OracleAgent:
    """Plans on the true state and the true reward (an ``EnvAgent``), with a search without a prior. Plans on an
    environment of its own and never touches the real one."""

    def __init__(self, planner: Planner, horizon: int, seed: int = 0) -> None:
        self._planning = PlanningAgent(None, planner, horizon, seed=seed)

    def reset(self, task: str, seed: int) -> None:
        self._planning.reset([0], [task], [seed])

    def act(self, env: Any) -> np.ndarray:
        self._planning.simulator = simulator = _simulator(env.task, env.repeat)
        moment = [self._planning.lane(0)], simulator.begin_at([env.snapshot()])
        return self._planning.answered(lambda: moment)[0]

    def stats(self) -> PlanCost:
        return self._planning.stats(0)


@lru_cache(maxsize=1)
def _simulator(task: str, repeat: int) -> Any:
    """The true simulator of the task that is played."""
    return resolve(family_of(task).true_simulator)(task, repeat)
