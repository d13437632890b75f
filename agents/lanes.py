"""Episodes played side by side, each in a lane, and the imagined state in which an agent follows each of them; where
the sub-goals of an episode come from; agents that imagine nothing.

Agents that follow none need no torch, so it is imported only where there is a simulator.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sfvgen_plan.agents.base import PlanCost
from sfvgen_plan.envs.family import family_of, scene_of
from sfvgen_plan.envs.memory.parts import Schedule, text_at
from sfvgen_plan.envs.memory.sub_goals import TASKS, sub_goals_of
from sfvgen_plan.errors import UserError

if TYPE_CHECKING:
    from sfvgen_plan.agents.noise import Key
    from sfvgen_plan.model.checkpoint import Checkpoint
    from sfvgen_plan.simulation import Prior


class SubGoals(Protocol):
    """Splits an episode into sub-goals."""

    def split(self, task: str, seed: int, picture: Callable[[], np.ndarray]) -> Schedule:
        """Texts with their decisions, for the episode of ``seed``; ``picture`` gives its first frame (H, W, 3)."""


def checked(schedule: Schedule, task: str) -> Schedule:
    """The schedule. Raises UserError unless it is (text, decisions) of one sub-goal or more."""
    try:
        fits = bool(schedule) and all(isinstance(text, str) and decisions >= 1 for text, decisions in schedule)
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise UserError(f"sub_goals: {schedule!r} is no split of {task!r}; give (text, decisions) of every sub-goal")
    return schedule


class RuleSubGoals:
    """Those of ``tasks`` are split as the environment's ``info`` says, too. Others: their one instruction, or an
    episode's own description, if it is ``known``."""

    def __init__(self, checkpoint: Checkpoint, tasks: Collection[str] = TASKS) -> None:
        self.card, self.tasks = checkpoint.card, tasks
        self.known = frozenset(checkpoint.card.sub_goals)

    def split(self, task: str, seed: int, picture: Callable[[], np.ndarray]) -> Schedule:
        if task in self.tasks and self.card.sub_goals:
            return sub_goals_of(task, seed, self.card.repeat)
        return ((self.card.tasks[task], 1),)


def rule_of(checkpoint: Checkpoint, tasks: Collection[str] = TASKS) -> RuleSubGoals | None:
    """For checkpoints that were trained on texts of sub-goals; None for others, which know instructions alone."""
    return RuleSubGoals(checkpoint, tasks) if checkpoint.card.sub_goals else None


@dataclass(eq=False)
class Lane:
    """One episode under way."""

    task: str
    seed: int
    decision: int = 0  # decisions executed so far
    action: np.ndarray | None = None  # the last one executed (A,), or None
    state: Any = None  # the imagined state that has seen all frames so far; None while it is joined with others
    # planned actions (A,) still to be executed before the next plan
    pending: deque[np.ndarray] = field(default_factory=deque)
    kept: Any = None  # what the agent keeps with the episode, such as what a planner left for its next call (H, A)
    schedule: Schedule | None = None  # the episode's sub-goals, where the agent knows any
    cost: PlanCost = field(default_factory=PlanCost)

    def charge(self, seconds: float, denoiser_calls: int = 0, imagined_decisions: int = 0) -> None:
        """Add to the episode's cost."""
        known = self.cost
        decisions = known.imagined_decisions + imagined_decisions
        self.cost = PlanCost(known.plan_seconds + seconds, known.denoiser_calls + denoiser_calls, decisions)


class FollowingAgent:
    """An agent that follows real episodes in a simulator and plays what ``answer`` says (a ``BatchAgent``). Without a
    ``simulator`` newest frames are all that is known of them. ``sub_goals``: what each decision is for; None: what the
    tasks' instructions say."""

    def __init__(self, simulator: Any, seed: int = 0, sub_goals: SubGoals | None = None) -> None:
        self.simulator, self.seed, self.sub_goals = simulator, seed, sub_goals
        self._lanes: dict[int, Lane] = {}
        self._together: list[Lane] = []
        self._joined: Any = None  # the state of the lanes that were observed together last, which mostly come again

    def reset(self, lanes: Sequence[int], tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Start new episodes in ``lanes``. Raises UserError for a negative seed."""
        for lane, task, seed in zip(lanes, tasks, seeds, strict=True):
            if seed < 0:
                raise UserError(f"seed={seed} must be at least 0")
            self._lanes[int(lane)] = Lane(task, int(seed))

    def told(self, lanes: Sequence[int], texts: Sequence[str]) -> None:
        """What the new episodes in ``lanes`` are about, in the simulator's words; taken if the model knows them."""
        for lane, text in zip(lanes, texts, strict=True):
            if text in getattr(self.sub_goals, "known", ()):
                self.lane(lane).schedule = ((text, 1),)

    def answer(self, lanes: Sequence[Lane], state: Any) -> np.ndarray:
        """Actions (E, A) in [-1, 1] for the lanes, whose state has seen all frames so far."""
        raise NotImplementedError

    def act(self, lanes: Sequence[int], frames: np.ndarray) -> np.ndarray:
        """Newest frames (E, H, W, 3) uint8 -> actions (E, A) in [-1, 1]."""
        return self.answered(lambda: self.observe(lanes, frames))

    def answered(self, observe: Callable[[], tuple[list[Lane], Any]]) -> np.ndarray:
        """The ``answer`` to what is observed, whose time the lanes bear in equal shares."""
        started = time.perf_counter()
        lanes, state = observe()
        actions = self.answer(lanes, state)
        seconds = (time.perf_counter() - started) / len(lanes)
        for lane, action in zip(lanes, actions, strict=True):
            lane.charge(seconds)
            lane.action, lane.decision = action, lane.decision + 1
        return actions

    def executed(self, lanes: Sequence[int], actions: np.ndarray) -> None:
        """Say that actions (E, A) are executed in these lanes instead of those that ``act`` answered last."""
        for lane, action in zip(lanes, actions, strict=True):
            self.lane(lane).action = action

    def stats(self, lane: int) -> PlanCost:
        return self.lane(lane).cost

    def lane(self, lane: int) -> Lane:
        """The episode under way in a lane. Raises UserError: there is none."""
        try:
            return self._lanes[int(lane)]
        except KeyError:
            raise UserError(f"lane={lane} plays no episode; call reset with it first") from None

    def keys(self, lanes: Sequence[Lane]) -> list[Key]:
        """Random keys of the lanes at their next decisions."""
        return [(self.seed, lane.seed, lane.decision) for lane in lanes]

    def observe(self, lanes: Sequence[int], frames: np.ndarray) -> tuple[list[Lane], Any]:
        """Show each lane's newest frame, frames (E, H, W, 3) uint8; the lanes and their state in that order. Raises
        UserError: frames that don't fit, a lane without episode, or what the simulator refuses."""
        frames = np.asarray(frames)
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or len(frames) != len(lanes):
            raise UserError(
                f"frames of shape {frames.shape} and type {frames.dtype} do not fit {len(lanes)} lanes;"
                f" give ({len(lanes)}, H, W, 3) uint8"
            )
        named = [self.lane(lane) for lane in lanes]
        if self.simulator is None:
            return named, frames
        import torch

        with torch.no_grad():
            state = self._followed(named, frames[:, None])
        for lane in named:
            lane.state = None
        self._together, self._joined = named, state
        return named, state

    def _followed(self, lanes: list[Lane], frames: np.ndarray) -> Any:
        """The lanes' state after the frames (E, 1, H, W, 3): those that have executed nothing yet begin with theirs."""
        import torch

        from sfvgen_plan.agents.noise import Stream, draw_seeds

        going, begun = ([n for n, lane in enumerate(lanes) if (lane.action is None) == new] for new in (False, True))
        parts = []
        before = self._before([lanes[n] for n in going])
        if going and self.sub_goals is not None:
            before = self.simulator.tell(before, [self._text(lanes[n], frames[n, 0]) for n in going])
        if going:
            actions = np.stack([np.asarray(lanes[n].action, np.float32) for n in going])
            parts.append(self.simulator.observe(before, frames[going], torch.from_numpy(actions[:, None])))
        if begun:
            new = [lanes[n] for n in begun]
            seeds = draw_seeds(self.keys(new), Stream.BEGIN, 1)[:, 0]
            told = () if self.sub_goals is None else ([self._text(lanes[n], frames[n, 0]) for n in begun],)
            scenes = [scene_of(lane.task) for lane in new]
            parts.append(self.simulator.begin(frames[begun], scenes, seeds.tolist(), *told))
        if len(parts) == 1:
            return parts[0]
        return self.simulator.select(self.simulator.join(parts), np.argsort([*going, *begun]).tolist())

    def _text(self, lane: Lane, frame: np.ndarray) -> str:
        """What the lane's next decision is for; ``frame`` (H, W, 3) is its newest."""
        assert self.sub_goals is not None
        if lane.schedule is None:
            lane.schedule = checked(self.sub_goals.split(lane.task, lane.seed, lambda: frame), lane.task)
        return text_at(lane.schedule, lane.decision)

    def _before(self, lanes: list[Lane]) -> Any:
        """The lanes' joined states; those joined last are only taken apart if it is others that come now."""
        if lanes == self._together:
            return self._joined
        for n, lane in enumerate(self._together):
            lane.state = self.simulator.select(self._joined, [n])
        self._together, self._joined = [], None
        return self.simulator.join([lane.state for lane in lanes]) if lanes else None


class PriorAgent(FollowingAgent):
    """Plays the prior's action for what the real frames so far show."""

    def __init__(self, simulator: Any, prior: Prior, *, seed: int = 0, sub_goals: SubGoals | None = None) -> None:
        super().__init__(simulator, seed, sub_goals)
        self.prior = prior

    def answer(self, lanes: Sequence[Lane], state: Any) -> np.ndarray:
        return self.prior(state.features).detach().cpu().numpy()


class RandomAgent(FollowingAgent):
    """Plays actions drawn uniformly from [-1, 1]. They depend only on the agent's ``seed`` and the episode's.
    ``action_dim``: numbers in an action; None for those of the task's simulator."""

    def __init__(self, action_dim: int | None = None, seed: int = 0) -> None:
        super().__init__(None, seed)
        self.action_dim = action_dim

    def answer(self, lanes: Sequence[Lane], state: Any) -> np.ndarray:
        return np.stack([self._drawn(lane) for lane in lanes])

    def _drawn(self, lane: Lane) -> np.ndarray:
        """The episode's next action (A,)."""
        lane.kept = lane.kept or np.random.default_rng([self.seed, lane.seed])
        return lane.kept.uniform(-1.0, 1.0, self.action_dim or family_of(lane.task).action_dim).astype(np.float32)
