"""The oracle: the same search as the learned simulator's, in the true one. It bounds what planning can reach."""

from __future__ import annotations

import time
from typing import Any

import torch

from sfvgen_plan.agents.base import PlanCost
from sfvgen_plan.agents.planning import Problem, shift
from sfvgen_plan.agents.search import CEM
from sfvgen_plan.envs.family import family_of, resolve


class OracleAgent:
    """Plans on the true state and the true reward (an ``EnvAgent``). Plans on an environment of its own and never
    touches the real one.

    Args:
        planner: search without a prior.
        seed: of the agent's own random numbers, at least 0.
    """

    def __init__(self, planner: CEM, seed: int = 0) -> None:
        self.planner, self.seed = planner, seed
        self._simulator: Any = None
        self._made_for: tuple[str, int] | None = None
        self._episode, self._decision = 0, 0
        self._carry: torch.Tensor | None = None
        self._cost = PlanCost()

    def reset(self, task: str, seed: int) -> None:
        self._episode, self._decision, self._carry, self._cost = int(seed), 0, None, PlanCost()

    @torch.inference_mode()
    def act(self, env: Any) -> Any:
        started = time.perf_counter()
        simulator = self._planning_simulator(env.task, env.repeat)
        carried = self._carry is not None
        carry = torch.zeros(1, self.planner.horizon, simulator.action_dim) if self._carry is None else self._carry
        plan = self.planner.plan(
            Problem(
                simulator=simulator,
                state=simulator.begin_at([env.snapshot()]),
                tasks=[env.task],
                keys=[(self.seed, self._episode, self._decision)],
                carry=carry,
                carried=torch.tensor([carried]),
            )
        )
        assert plan.carry is not None
        self._carry = shift(plan.carry)
        self._decision += 1
        self._cost = PlanCost(
            plan_seconds=self._cost.plan_seconds + time.perf_counter() - started,
            imagined_decisions=self._cost.imagined_decisions + plan.imagined,
        )
        return plan.actions[0, 0].numpy()

    def stats(self) -> PlanCost:
        return self._cost

    def _planning_simulator(self, task: str, repeat: int) -> Any:
        if self._simulator is None or self._made_for != (task, repeat):
            family = family_of(task)
            self._simulator, self._made_for = resolve(family.true_simulator)(task, repeat), (task, repeat)
        return self._simulator
