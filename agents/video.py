"""Video planning: imagine the sub-goal being reached, and do what would lead along the video."""

from dataclasses import dataclass

import torch

from sfvgen_plan.agents.noise import Stream, draw_seeds
from sfvgen_plan.agents.planning import Plan, Problem


@dataclass(frozen=True)
class VideoPlanner:
    """A ``Planner`` whose plans are videos of what each lane is told to do."""

    horizon: int = 8  # frames of a video, one for each decision
    videos: int = 1  # how many are imagined for a plan; the one whose end the heads value most is followed

    def plan(self, problem: Problem) -> Plan:
        """A video of each lane's sub-goal, as actions."""
        simulator = problem.simulator
        seeds = draw_seeds(problem.keys, Stream.FUTURES, self.videos).flatten()
        ends, _, actions = simulator.video(
            simulator.reseed(simulator.fork(problem.state, self.videos), seeds), self.horizon
        )
        if self.videos > 1:
            value = simulator.read(ends).value.view(-1, self.videos)
            actions = actions[value.argmax(1) + self.videos * torch.arange(len(value), device=value.device)]
        return Plan(actions, carry=None, imagined=len(problem.tasks) * self.videos * self.horizon)
