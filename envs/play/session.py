"""A game of one task: each action moves the real environment and the imagined one, and every moment can be gone back
to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_plan.envs.decisions import as_numbers
from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.envs.metaworld.env import MetaworldEnv, MetaworldSnapshot
from sfvgen_plan.envs.metaworld.family import FAMILY
from sfvgen_plan.envs.states import ImaginedState, converted
from sfvgen_plan.errors import UserError, unknown_name
from sfvgen_plan.metrics import psnr
from sfvgen_plan.model.checkpoint import Checkpoint

ENDLESS = 2**31 - 1
"""Nothing is cut off: who plays decides when it is over."""

LONGEST = 200
"""Decisions that a branch can hold. Every moment of it is kept: a tenth of a megabyte, and some ten megabytes more
where a memory has just learnt."""

NAMES = "ABCDEFGHIJ"
"""What branches are called, and so how many there can be."""


@dataclass(frozen=True)
class Side:
    """One of the two worlds at one moment.

    Attributes:
        frame: (H, W, 3) uint8.
        reward: of the decision that led here, 0 to 10; None at the start.
        success: whether the task was solved at this decision.
        solved: whether it was solved at any decision so far.
        probability: of success in [0, 1]; the real world has 0 or 1.
    """

    frame: np.ndarray
    reward: float | None
    success: bool
    solved: bool
    probability: float

    @classmethod
    def of(cls, frame: np.ndarray, reward: float | None, info: dict[str, Any]) -> Side:
        """From what an environment returned."""
        success = bool(info["success"])
        probability = float(info.get("success_probability", success))
        return cls(frame, reward, success, bool(info["success_latched"]), probability)


@dataclass(frozen=True)
class Moment:
    """Both worlds after the same actions, and all that is needed to go on from here. A value.

    Attributes:
        decision: how many were taken since the start.
        action: (A,) that led here; None at the start.
        real, imagined: what they look like.
        snapshot, state: exact states of the two environments.
    """

    decision: int
    action: np.ndarray | None
    real: Side
    imagined: Side
    snapshot: MetaworldSnapshot
    state: ImaginedState

    @property
    def memory(self) -> bool:
        """Whether the imagined episode goes on with fast learning."""
        return self.state.memory is not None

    @property
    def learnt(self) -> int:
        """Learning steps that its memory has taken."""
        memory = self.state.episodes.imagination.memory
        return 0 if memory is None else int(memory.steps[memory.owner[0]])

    @property
    def psnr(self) -> float:
        """How close the imagined frame is to the real one, in dB."""
        return float(psnr(self.real.frame, self.imagined.frame))


@dataclass
class Branch:
    """One course of events: its moments, and at which of them the game stands in it."""

    moments: list[Moment] = field(default_factory=list)
    at: int = 0


class Session:
    """The game. ``step`` goes on from where it stands and replaces what lay ahead there; ``fork`` keeps that.

    Not for several threads: frames are drawn in the thread that made the session.

    Args:
        task: a Metaworld task that the checkpoint lists.
        checkpoint: folder, or a loaded checkpoint; None is the bundled one.
        memory: begin with fast learning.
        seed: of the real scene, whose first frame both worlds begin with.
        memory_every, sampler_steps, device: of ``sfvgen_plan.envs.batch.ImaginedBatch``.

    Raises:
        UserError: an unknown task, one that the checkpoint doesn't list, what the environments refuse.

    Example:
        >>> game = Session("reach-v3")
        >>> game.step([1, 0, 0, 0])
        >>> game.fork()
        'B'
        >>> game.step([-1, 0, 0, 0]).real.frame.shape
        (128, 128, 3)
    """

    def __init__(
        self,
        task: str,
        checkpoint: str | Path | Checkpoint | None = None,
        memory: bool = False,
        seed: int = 0,
        memory_every: int = 8,
        sampler_steps: int = 3,
        device: str = "auto",
    ) -> None:
        self.task = FAMILY.canonical(task)
        settings: Any = {"memory_every": memory_every, "sampler_steps": sampler_steps, "device": device}
        plain = ImaginedEnv(self.task, checkpoint, max_decisions=ENDLESS, **settings)
        self.checkpoint = loaded = plain.checkpoint
        learning = ImaginedEnv(self.task, loaded, max_decisions=ENDLESS, memory=True, **settings)
        self._imagined = {False: plain, True: learning}
        self.real = MetaworldEnv(self.task, loaded.size, loaded.camera, loaded.repeat, max_decisions=ENDLESS)
        self.instruction = plain.instruction
        self._memory = memory
        self._branches: dict[str, Branch] = {}
        self.name = NAMES[0]
        self.seed = seed
        try:
            self.reset(seed)
        except BaseException:
            self.close()
            raise

    @property
    def branch(self) -> Branch:
        """The branch that is played."""
        return self._branches[self.name]

    @property
    def branches(self) -> list[str]:
        """Names of all branches, oldest first."""
        return list(self._branches)

    @property
    def moment(self) -> Moment:
        """Where the game stands."""
        return self.branch.moments[self.branch.at]

    @property
    def memory(self) -> bool:
        """Whether fast learning goes on from here."""
        return self.moment.memory

    def reset(self, seed: int | None = None) -> Moment:
        """Begin a new game with one branch, with the scene of ``seed`` or the one before's.

        Raises:
            UserError: a seed that is no whole number from 0.
        """
        seed = self.seed if seed is None else _checked_seed(seed)
        memory = self.memory if self._branches else self._memory
        frame, info = self.real.reset(seed=seed)
        env = self._imagined[memory]
        seen, told = env.reset(seed=seed, options={"frames": frame})
        sides = Side.of(frame, None, info), Side.of(seen, None, told)
        start = Moment(0, None, *sides, self.real.snapshot(), env.get_state())
        self._branches, self.name, self.seed = {NAMES[0]: Branch([start])}, NAMES[0], seed
        return start

    def step(self, action: Any, times: int = 1) -> Moment:
        """Take ``action`` (A,) in both worlds, ``times`` decisions long; values outside [-1, 1] are clipped.

        Raises:
            UserError: another number of values, one that is not finite, ``times`` below 1, or the branch is full.
        """
        branch = self.branch
        if times < 1:
            raise UserError(f"times={times} leaves nothing to do; give at least 1")
        if branch.at + times > LONGEST:
            raise UserError(
                f"decision={branch.at + times} is beyond {LONGEST}, the most of a branch; rewind or restart"
            )
        held = self._checked_action(action)
        for _ in range(times):
            moved = self._moved(branch.moments[branch.at], held)
            branch.moments[branch.at + 1 :] = [moved]
            branch.at += 1
        return self.moment

    def rewind(self, decisions: int = 1) -> Moment:
        """Go back. What lies ahead stays there until another step is taken.

        Raises:
            UserError: fewer than 1, or more than were taken.
        """
        if decisions < 1:
            raise UserError(f"decisions={decisions} is no way back; give at least 1")
        if decisions > self.branch.at:
            raise UserError(f"decisions={decisions} is more than the {self.branch.at} taken; rewind fewer")
        return self.go_to(self.branch.at - decisions)

    def go_to(self, decision: int) -> Moment:
        """Stand at a decision of this branch, back or ahead.

        Raises:
            UserError: there is no such decision in it.
        """
        last = len(self.branch.moments) - 1
        if not 0 <= decision <= last:
            raise UserError(f"decision={decision} is not in branch {self.name}; give 0 to {last}")
        self.branch.at = decision
        return self._stand()

    def fork(self) -> str:
        """A new branch that shares everything up to here; it is played from now on, the old one keeps what lay ahead.

        Returns:
            Its name.

        Raises:
            UserError: no more names.
        """
        if len(self._branches) == len(NAMES):
            raise UserError(f"branches={len(NAMES)} are the most; switch to one of them or start again")
        old = self.branch
        self.name = NAMES[len(self._branches)]
        self._branches[self.name] = Branch(old.moments[: old.at + 1], old.at)
        return self.name

    def switch(self, name: str) -> Moment:
        """Go on with another branch, where it was left.

        Raises:
            UserError: no branch of that name.
        """
        if name not in self._branches:
            raise unknown_name("branch", name, self._branches)
        self.name = name
        return self._stand()

    def set_memory(self, on: bool) -> Moment:
        """Go on from here with a fresh memory, or without one; as a step does, it replaces what lay ahead."""
        if on == self.memory:
            return self.moment
        state = converted(self.moment.state, self._imagined[on].batch)
        self.branch.moments[self.branch.at :] = [replace(self.moment, state=state)]
        return self._stand()

    def close(self) -> None:
        """Free the renderer. Closing twice is fine."""
        self.real.close()

    def _stand(self) -> Moment:
        """Put both environments where the game stands."""
        moment = self.moment
        self.real.restore(moment.snapshot)
        self._imagined[moment.memory].set_state(moment.state)
        return moment

    def _moved(self, before: Moment, action: np.ndarray) -> Moment:
        env = self._imagined[before.memory]
        try:
            frame, reward, _, _, info = self.real.step(action)
            seen, expected, _, _, told = env.step(action)
        except BaseException:
            self._stand()  # one world may have moved without the other
            raise
        sides = Side.of(frame, reward, info), Side.of(seen, expected, told)
        return Moment(before.decision + 1, action, *sides, self.real.snapshot(), env.get_state())

    def _checked_action(self, action: Any) -> np.ndarray:
        """Checked before either world moves, so that they stay together."""
        space, values = self.real.action_space, as_numbers(action)
        if values.shape != space.shape:
            raise UserError(f"action has shape {values.shape}; the task's actions have shape {space.shape}")
        if not np.isfinite(values).all():
            raise UserError(f"action={values.tolist()} has a number that is not finite; give values in [-1, 1]")
        return values.clip(-1.0, 1.0)


def _checked_seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, float)) or seed != seed // 1 or not 0 <= seed < 2**31:
        raise UserError(f"seed={seed!r} is no whole number from 0 to {2**31 - 1}; give one")
    return int(seed)
