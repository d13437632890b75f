"""Anchors: the frames that passes start from for several decisions, so that errors don't add up with every single one.

A pass that starts from imagined frames inherits their errors, so decisions imagined one at a time would drift away
faster than in chunks. Episodes with an anchor imagine every decision since it anew, in one pass with the newest one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

ANCHOR_EVERY = 8
"""Decisions that are usually imagined from one anchor: the longest chunk of training."""


@dataclass(frozen=True)
class Anchor:
    """Where the passes of N episodes start.

    Attributes:
        context: (N, f_p, C, h, w) clean frames.
        actions: (N, S, A) taken since, ``taken`` of them; S is how many there can be.
        taken: (N,) int64.
        step: (N,) int64, which stream of each episode's noise the passes draw from.
    """

    context: Tensor
    actions: Tensor
    taken: Tensor
    step: Tensor

    @classmethod
    def at(cls, context: Tensor, step: Tensor, action_dim: int, most: int) -> Anchor:
        """An anchor at frames (N, f_p, C, h, w), for up to ``most`` decisions."""
        actions = context.new_zeros(len(context), most, action_dim)
        return cls(context, actions, torch.zeros_like(step), step)

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

    def moved(self, newest: Tensor, step: Tensor, new: int) -> Anchor:
        """At the ``newest`` frames (N, f_p, C, h, w) in episodes in which ``new`` more decisions don't fit."""
        full = self.taken + new > self.actions.shape[1]
        return replace(
            self,
            context=torch.where(full[:, None, None, None, None], newest, self.context),
            taken=torch.where(full, 0, self.taken),
            step=torch.where(full, step, self.step),
        )

    def taking(self, actions: Tensor) -> Anchor:
        """After ``actions`` (N, G, A). Where they don't fit the anchor is full, and moves before the next pass."""
        most, new = self.actions.shape[1], actions.shape[1]
        if new > most:
            return replace(self, taken=torch.full_like(self.taken, most))
        places = self.taken[:, None] + torch.arange(new, device=actions.device)
        places = places[..., None].expand(-1, -1, actions.shape[-1])
        return replace(self, actions=self.actions.scatter(1, places, actions), taken=self.taken + new)

    def groups(self) -> Iterator[tuple[int, Tensor]]:
        """Episodes that took as many decisions, as (how many, index): one pass makes windows of one length."""
        for taken in self.taken.unique().tolist():
            yield taken, (self.taken == taken).nonzero().flatten()
