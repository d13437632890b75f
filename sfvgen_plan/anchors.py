"""Anchors: the frames that passes start from for several decisions, so that errors don't add up with every single one.

A pass that starts from imagined frames inherits their errors, so decisions imagined one at a time would drift away
faster than in chunks. Episodes with an anchor imagine every decision since it anew, in one pass with the newest one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from sfvgen_plan.model import noise


@dataclass(frozen=True)
class Anchor:
    """Where the passes of N episodes start.

    Attributes:
        context: (N, f_p, C, h, w) clean frames.
        actions: (N, S, A) taken since, ``taken`` of them; S is how many there can be.
        taken: (N,) int64.
        seed, step: (N,) int64, the noise that led to the frames since.
    """

    context: Tensor
    actions: Tensor
    taken: Tensor
    seed: Tensor
    step: Tensor

    @classmethod
    def at(cls, context: Tensor, seed: Tensor, step: Tensor, action_dim: int, most: int) -> Anchor:
        """An anchor at frames (N, f_p, C, h, w), for up to ``most`` decisions."""
        actions = context.new_zeros(len(context), most, action_dim)
        return cls(context, actions, torch.zeros_like(step), seed, step)

    def select(self, index: Tensor) -> Anchor:
        """Of the episodes named by ``index``, in that order."""
        return Anchor(*(getattr(self, field.name)[index] for field in fields(self)))

    def replaced(self, index: Tensor, part: Anchor) -> Anchor:
        """The same, but those of the episodes that ``index`` names are ``part``."""
        return Anchor(
            *(getattr(self, field.name).index_copy(0, index, getattr(part, field.name)) for field in fields(self))
        )

    def to(self, device: torch.device) -> Anchor:
        """On another device."""
        return Anchor(*(getattr(self, field.name).to(device) for field in fields(self)))

    def reseeded(self, seed: Tensor) -> Anchor:
        """For episodes that go on with other noise; what was imagined since the anchor stays as it is."""
        return replace(self, seed=torch.where(self.taken == 0, seed, self.seed))

    def moved(self, newest: Tensor, seed: Tensor, step: Tensor, new: int) -> Anchor:
        """At the ``newest`` frames (N, f_p, C, h, w) in episodes in which ``new`` more decisions don't fit."""
        full = self.taken + new > self.actions.shape[1]
        return replace(
            self,
            context=torch.where(full[:, None, None, None, None], newest, self.context),
            taken=torch.where(full, 0, self.taken),
            seed=torch.where(full, seed, self.seed),
            step=torch.where(full, step, self.step),
        )

    def drawn(self, seed: Tensor, taken: int, shape: tuple[int, ...]) -> Tensor:
        """Noise (N, *shape) of the ``taken`` frames since, and after them that of ``seed`` (N,)."""
        numbers = noise.normal(seed, self.step, shape)
        other = seed != self.seed
        if taken and bool(other.any()):
            past = noise.normal(self.seed[other], self.step[other], shape)
            numbers[other, :taken] = past[:, :taken]
        return numbers

    def taking(self, actions: Tensor, seed: Tensor) -> Anchor:
        """After ``actions`` (N, G, A), imagined with the noise of ``seed`` (N,). Where they don't fit, or the noise is
        another than before, the anchor is full, and moves before the next pass."""
        most, new = self.actions.shape[1], actions.shape[1]
        if new > most:
            return replace(self, taken=torch.full_like(self.taken, most))
        places = self.taken[:, None] + torch.arange(new, device=actions.device)
        places = places[..., None].expand(-1, -1, actions.shape[-1])
        taken = torch.where(seed == self.seed, self.taken + new, most)
        return replace(self, actions=self.actions.scatter(1, places, actions), taken=taken)

    def groups(self) -> Iterator[tuple[int, Tensor]]:
        """Episodes that took as many decisions, as (how many, index): one pass makes windows of one length."""
        for taken in self.taken.unique().tolist():
            yield taken, (self.taken == taken).nonzero().flatten()
