"""A world small enough to know the answer: a point on a plane that must reach its goal, and how agents play in it."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sfvgen_plan.model.noise import normal
from sfvgen_plan.simulation import Outcome, as_long

STEP, RADIUS = 0.2, 0.1


@dataclass(frozen=True)
class Points:
    """``place`` and ``goal`` (N, 2), random state ``seed`` and ``step`` (N,)."""

    place: Tensor
    goal: Tensor
    seed: Tensor
    step: Tensor

    @property
    def features(self):
        """(N, 4), place and goal."""
        return torch.cat([self.place, self.goal], 1)


class PointMass:
    """``Simulator`` of points that move by 0.2 x action. Pixel values of the newest frame are place and goal. With
    ``noise``, imagined points drift at random; with ``fog``, what is seen at x > 0 differs from future to future;
    ``goal_error`` (2,) is where the simulator wrongly sees the goal."""

    action_dim = 2
    device = torch.device("cpu")

    def __init__(self, noise=0.0, goal_error=(0.0, 0.0), fog=False):
        self.noise, self.goal_error = noise, torch.tensor(goal_error)
        self.fog, self.denoiser_calls = fog, 0
        self.largest_batch = 0

    def begin(self, frames, tasks, seeds, texts=()):
        place, goal = (torch.tensor(frames[:, -1, 0, spot, :2] / 127.5 - 1.0).float() for spot in (0, 1))
        return Points(place, goal + self.goal_error, as_long(seeds), torch.zeros(len(frames), dtype=torch.int64))

    def observe(self, state, frames, actions):
        seen = self.begin(frames, [], state.seed)
        return replace(seen, step=state.step + actions.shape[1])

    def imagine(self, state, actions):
        self.denoiser_calls += 1
        self.largest_batch = max(self.largest_batch, len(actions))
        drift = torch.zeros(actions.shape)
        if self.noise or self.fog:
            drift = normal(state.seed, state.step, tuple(actions.shape[1:]))
        places = state.place[:, None] + (STEP * actions.clamp(-1, 1) + self.noise * drift).cumsum(1)
        outcome = self._outcome(places, state.goal)
        seen = places + drift * (places[..., :1] > 0) * self.fog
        return replace(state, place=places[:, -1], step=state.step + 1), replace(outcome, latents=seen)

    def play(self, state, policy, decisions):
        actions, outcomes, calls = [], [], self.denoiser_calls
        for g in range(decisions):
            actions.append(policy(g, state.features))
            state, outcome = self.imagine(state, actions[-1][:, None])
            outcomes.append([outcome.reward, outcome.success, outcome.value, outcome.estimates, outcome.latents])
        self.denoiser_calls = calls + 1
        *known, latents = (torch.cat(part, 1) for part in zip(*outcomes, strict=True))
        return state, Outcome(*known, latents=latents), torch.stack(actions, 1)

    def read(self, state):
        return self._outcome(state.place[:, None], state.goal)

    def fork(self, state, copies):
        return self.select(state, torch.arange(len(state.place)).repeat_interleave(copies))

    def select(self, state, index):
        return Points(*(getattr(state, name)[as_long(index)] for name in ("place", "goal", "seed", "step")))

    def join(self, states):
        parts = [[getattr(state, name) for state in states] for name in ("place", "goal", "seed", "step")]
        return Points(*map(torch.cat, parts))

    def reseed(self, state, seeds):
        return replace(state, seed=as_long(seeds))

    @staticmethod
    def _outcome(places, goal):
        distance = (places - goal[:, None]).norm(dim=-1)
        estimates = torch.zeros(*distance.shape, 10)
        estimates[..., :2] = places
        near = 1.0 / (1.0 + distance)
        return Outcome(10.0 * near, torch.sigmoid((RADIUS - distance) / 0.02), near, estimates)


class Towards:
    """``Prior`` that steps to the goal, or to ``offset`` from it; ``gain`` below 1 makes it slow, below 0 hopeless."""

    def __init__(self, offset=(0.0, 0.0), gain=1.0):
        self.offset, self.gain = torch.tensor(offset), gain

    def __call__(self, features):
        place, goal = features.split(2, -1)
        return (self.gain * (goal + self.offset - place) / STEP).clamp(-1, 1)


def picture(place, goal):
    """The frame (1, 2, 3) uint8 of a point and its goal, in [-1, 1]."""
    frame = np.zeros((1, 2, 3), np.uint8)
    frame[0, 0, :2], frame[0, 1, :2] = (np.round((spot + 1) * 127.5).clip(0, 255) for spot in (place, goal))
    return frame


@dataclass
class Played:
    """``actions`` (T, 2), ``places`` (T + 1, 2), and the decision that reached the goal, or None."""

    actions: np.ndarray
    places: np.ndarray
    solved_at: int | None


def play(agent, seeds, decisions=12):
    """Episodes side by side in the real point world, one for each seed."""
    scenes = [np.random.default_rng(seed).uniform(-0.8, 0.8, (2, 2)) for seed in seeds]
    places = [[scene[0]] for scene in scenes]
    lanes, actions = list(range(len(seeds))), []
    agent.reset(lanes, ["point"] * len(seeds), seeds)
    for _ in range(decisions):
        frames = [picture(path[-1], scene[1]) for path, scene in zip(places, scenes, strict=True)]
        actions.append(agent.act(lanes, np.stack(frames)))
        for path, action in zip(places, actions[-1], strict=True):
            path.append(path[-1] + STEP * action.clip(-1, 1))
    results = []
    for lane, scene in enumerate(scenes):
        near = [int(t) for t, place in enumerate(places[lane]) if np.linalg.norm(place - scene[1]) < RADIUS]
        path = [action[lane] for action in actions]
        results.append(Played(np.array(path), np.array(places[lane]), near[0] if near else None))
    return results


def successes(played):
    """Episodes that reached the goal."""
    return sum(episode.solved_at is not None for episode in played)
