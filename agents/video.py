"""Video planning: imagine the sub-goal being reached, and do what would lead along the video."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from sfvgen_plan.agents.noise import Stream, draw_seeds
from sfvgen_plan.agents.rollout import Plan, Problem
from sfvgen_plan.agents.sub_goals import Schedule, SubGoals, checked, text_at
from sfvgen_plan.errors import check_number
from sfvgen_plan.synthesis import Synthesis


@dataclass(frozen=True)
class VideoPlanner:
    """A ``Planner`` whose plans are videos.

    Attributes:
        synthesis: imagines videos, in the simulator that the problems come from.
        sub_goals: what a video is asked for.
        horizon: frames of a video, one for each decision.
        videos: how many are imagined for a plan; the one whose end the heads value most is followed.
    """

    synthesis: Synthesis
    sub_goals: SubGoals
    horizon: int = 8
    videos: int = 1
    _schedules: dict[tuple[str, int], Schedule] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_number("videos", self.videos, 1)

    def phase(self, decision: int) -> int:
        """Every decision costs the same."""
        return 0

    def plan(self, problem: Problem) -> Plan:
        """A video of each lane's sub-goal, as actions."""
        simulator = problem.simulator
        seeds = draw_seeds(problem.keys, Stream.FUTURES, self.videos).flatten()
        state = simulator.reseed(simulator.fork(problem.state, self.videos), seeds)
        texts = [text for text in self._texts(problem) for _ in range(self.videos)]
        ends, videos = self.synthesis.imagine(state, texts, self.horizon)
        simulator.imagined_decisions += len(texts) * self.horizon
        actions = self.synthesis.actions(state, videos)
        if self.videos > 1:
            value = self.synthesis.simulator.read(ends).value.view(-1, self.videos)
            actions = actions[value.argmax(1) + self.videos * torch.arange(len(value), device=value.device)]
        return Plan(actions, carry=None)

    def _texts(self, problem: Problem) -> list[str]:
        names = self.synthesis.simulator.checkpoint.tasks
        tasks = [names[index] for index in problem.state.task.tolist()]
        texts = []
        for newest, task, (_, seed, decision) in zip(problem.state.context[:, -1], tasks, problem.keys, strict=True):
            if decision == 0 or (task, seed) not in self._schedules:
                found = self.sub_goals.split(task, seed, partial(self._picture, newest))
                self._schedules[task, seed] = checked(found, task)
            texts.append(text_at(self._schedules[task, seed], decision))
        return texts

    def _picture(self, latents: Tensor) -> np.ndarray:
        """The frame (H, W, 3) uint8 of latents (C, h, w), as the model sees it."""
        return self.synthesis.simulator.decode(latents[None, None])[0, 0]
