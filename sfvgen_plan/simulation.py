"""The contract between planners and whatever they plan in: the learned simulator or the true one.

Shapes: N imagined episodes, G decisions, A action numbers, D state read-outs, K features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

State = TypeVar("State")


@dataclass(frozen=True)
class Outcome:
    """What G imagined decisions led to, for N episodes.

    Attributes:
        reward: (N, G) the task's dense reward, in the environment's unit (Metaworld: 0 to 10 per decision).
        success: (N, G) probability in [0, 1] that the task is solved at that decision.
        value: (N, G) discounted future progress in [0, 1] from that decision on (1 = solved for good).
        estimates: (N, G, D) state read-outs, in the simulator's units.
        termination: (N, G) probability in [0, 1] that the episode ends at that decision, or None.
        latents: (N, G, C, h, w) frames in latent space, or None where the simulator has none.
        features: (N, G, K) what the heads, the policy prior among them, read, or None.
    """

    reward: Tensor
    success: Tensor
    value: Tensor
    estimates: Tensor
    termination: Tensor | None = None
    latents: Tensor | None = None
    features: Tensor | None = None


class Simulator(Protocol[State]):
    """Functional simulator of a batch of episodes. No method changes the state it is given."""

    @property
    def action_dim(self) -> int:
        """A, numbers in an action."""

    def begin(self, frames: np.ndarray, tasks: Sequence[str], seeds: Sequence[int]) -> State:
        """Start N episodes from ``frames`` (N, P, H, W, 3) uint8, oldest first; P may be 1."""

    def imagine(self, state: State, actions: Tensor) -> tuple[State, Outcome]:
        """Execute ``actions`` (N, G, A) in [-1, 1]. One decision and G decisions in a row are the same job."""

    def observe(self, state: State, frames: np.ndarray, actions: Tensor) -> State:
        """Go on with real frames (N, G, H, W, 3) uint8, each of which its action (N, G, A) led to."""

    def fork(self, state: State, copies: int) -> State:
        """Each episode ``copies`` times: episode n becomes n*copies .. n*copies+copies-1. Forks share their random
        state, so that different actions are compared under the same noise."""

    def select(self, state: State, index: Sequence[int] | Tensor) -> State:
        """The episodes named by ``index``, in that order."""

    def join(self, states: Sequence[State]) -> State:
        """The episodes of all states, in that order."""

    def reseed(self, state: State, seeds: Sequence[int] | Tensor) -> State:
        """The same episodes with new random states (N,): other possible futures."""


Prior = Callable[[Tensor], Tensor]
"""Proposes actions for what is seen: features (..., K) of frames -> actions (..., A) in [-1, 1]."""


def as_long(values: Sequence[int] | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Integers of any sequence type as an int64 tensor."""
    return torch.as_tensor(values, dtype=torch.int64, device=device)
