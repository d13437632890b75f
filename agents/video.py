"""Video planning: imagine the sub-goal being reached, and do what would lead along the video."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from sfvgen_plan.agents.noise import Stream, draw_seeds
from sfvgen_plan.agents.rollout import Plan, Problem
from sfvgen_plan.agents.sub_goals import Schedule, SubGoals, checked, text_at
from sfvgen_plan.errors import check_number


@dataclass(frozen=True)
class VideoPlanner:
    """A ``Planner`` whose plans are videos.

    Attributes:
        sub_goals: what a video is asked for.
        horizon: frames of a video, one for each decision.
        videos: how many are imagined for a plan; the one whose end the heads value most is followed.
    """

    sub_goals: SubGoals
    horizon: int = 8
    videos: int = 1
    _schedules: dict[tuple[str, int], Schedule] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name in ("horizon", "videos"):
            check_number(name, getattr(self, name), 1)

    def phase(self, decision: int) -> int:
        """Every decision costs the same."""
        return 0

    def plan(self, problem: Problem) -> Plan:
        """A video of each lane's sub-goal, as actions."""
        simulator = problem.simulator
        seeds = draw_seeds(problem.keys, Stream.FUTURES, self.videos).flatten()
        state = simulator.reseed(simulator.fork(problem.state, self.videos), seeds)
        texts = [text for text in self._texts(problem) for _ in range(self.videos)]
        ends, _, actions = simulator.video(state, texts, self.horizon)
        if self.videos > 1:
            value = simulator.read(ends).value.view(-1, self.videos)
            actions = actions[value.argmax(1) + self.videos * torch.arange(len(value), device=value.device)]
        return Plan(actions, carry=None)

    def _texts(self, problem: Problem) -> list[str]:
        names = problem.simulator.checkpoint.tasks
        tasks = [names[index] for index in problem.state.task.tolist()]
        texts = []
        for n, (task, (_, seed, decision)) in enumerate(zip(tasks, problem.keys, strict=True)):
            if decision == 0 or (task, seed) not in self._schedules:
                found = self.sub_goals.split(task, seed, partial(self._picture, problem, n))
                self._schedules[task, seed] = checked(found, task)
            texts.append(text_at(self._schedules[task, seed], decision))
        return texts

    def _picture(self, problem: Problem, lane: int) -> np.ndarray:
        """The newest frame (H, W, 3) uint8, as the model sees it."""
        return problem.simulator.decode(problem.state.latents[lane])
