"""Actions of an environment as vectors in [-1, 1], which is what networks and agents speak.

Outside, an environment has a ``Box`` of any bounds or a ``Discrete`` space. Inside, a ``Box`` is scaled to [-1, 1] and
made flat, and one of n ``Discrete`` actions is a one-hot vector; whatever vector is played, its largest number counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import gymnasium as gym
import numpy as np

from sfvgen_plan.errors import UserError


@dataclass(frozen=True)
class Actions:
    """An action space, a bounded ``Box`` of floats or ``Discrete``, seen from both sides. Raises UserError: another
    space, or one without bounds."""

    space: gym.Space[Any]

    def __post_init__(self) -> None:
        space = self.space
        box = isinstance(space, gym.spaces.Box) and np.issubdtype(space.dtype, np.floating)
        if not box and not isinstance(space, gym.spaces.Discrete):
            raise UserError(f"action_space={space} is neither a Box of floats nor Discrete; wrap the environment")
        if isinstance(space, gym.spaces.Box) and not (space.is_bounded() and space.shape and np.prod(space.shape)):
            raise UserError(f"action_space={space} has no bounds or no numbers; wrap the environment in one that has")

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None, dim: int) -> Self:
        """From what ``stored`` gave; None is a ``Box`` of ``dim`` numbers in [-1, 1]. Raises KeyError, TypeError,
        ValueError: it is something else."""
        if stored is None:
            return cls(gym.spaces.Box(-1.0, 1.0, (dim,), np.float32))
        if "n" in stored:
            return cls(gym.spaces.Discrete(stored["n"], start=stored["start"]))
        kind = np.dtype(stored["dtype"])
        return cls(gym.spaces.Box(np.array(stored["low"], kind), np.array(stored["high"], kind), dtype=kind))

    def stored(self) -> dict[str, Any]:
        """For JSON."""
        space = self.space
        if isinstance(space, gym.spaces.Discrete):
            return {"n": int(space.n), "start": int(space.start)}
        assert isinstance(space, gym.spaces.Box)
        return {"low": space.low.tolist(), "high": space.high.tolist(), "dtype": str(space.dtype)}

    @cached_property
    def plain(self) -> bool:
        """Whether actions are those vectors already."""
        return self.space == gym.spaces.Box(-1.0, 1.0, (self.dim,), np.float32)

    @property
    def discrete(self) -> bool:
        """Whether vectors are one-hot."""
        return isinstance(self.space, gym.spaces.Discrete)

    @property
    def dim(self) -> int:
        """A, numbers in a vector."""
        space = self.space
        return int(space.n) if isinstance(space, gym.spaces.Discrete) else int(np.prod(space.shape or ()))

    def inside(self, actions: Any) -> np.ndarray:
        """Vectors (..., A) float32 of actions (..., *shape) of the space; what lies outside of a Box is clipped."""
        space = self.space
        if self.plain:
            return np.asarray(actions, np.float32).clip(-1.0, 1.0)
        if isinstance(space, gym.spaces.Discrete):
            return np.eye(self.dim, dtype=np.float32)[np.asarray(actions, np.int64) - int(space.start)]
        assert isinstance(space, gym.spaces.Box)
        held = np.asarray(actions, np.float64).clip(space.low, space.high)
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        scaled = 2 * (held - low) / np.maximum(high - low, 1e-12) - 1
        return scaled.reshape(*scaled.shape[: scaled.ndim - len(space.shape)], self.dim).astype(np.float32)

    def outside(self, vectors: np.ndarray) -> Any:
        """Actions (..., *shape) of the space for vectors (..., A) in [-1, 1]."""
        space = self.space
        if self.plain:
            return vectors
        if isinstance(space, gym.spaces.Discrete):
            return np.asarray(vectors).argmax(-1) + space.start
        assert isinstance(space, gym.spaces.Box)
        held = np.asarray(vectors, np.float64).clip(-1.0, 1.0).reshape(*np.shape(vectors)[:-1], *space.shape)
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        return (low + (held + 1) / 2 * (high - low)).clip(low, high).astype(space.dtype)

    def played(self, vectors: np.ndarray) -> np.ndarray:
        """The vectors (..., A) float32 that stand for what is executed when ``vectors`` are asked for."""
        return self.inside(self.outside(vectors))
