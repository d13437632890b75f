"""Who sees whom when a window of F frames, of S tokens each, is trained on: clean copies first, noisy ones behind.

A clean copy sees the clean frames up to itself, a noisy one the clean frames before it and itself, both ``window``
frames back at most.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

Rule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def rule(frames: int, tokens: int, window: int) -> Rule:
    """Whether a query sees a key, by their numbers in the sequence of 2 F S tokens, whatever batch and head."""

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        gap = query // tokens % frames - key // tokens % frames
        noisy, other = query >= frames * tokens, key >= frames * tokens
        before = ~other & ((gap > 0) | ~noisy & (gap == 0)) & (gap <= window)
        return before | noisy & other & (gap == 0)

    return sees


def pairs_mask(frames: int, tokens: int, window: int, device: torch.device) -> Tensor:
    """All pairs, (2 F S, 2 F S) bool."""
    at = torch.arange(2 * frames, device=device)
    of_frames = rule(frames, 1, window)(at, at, at[:, None], at)
    return of_frames.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)


def pairs_seen(frames: int, tokens: int, window: int, device: torch.device) -> BlockMask:
    """The same for attention that skips blocks of pairs that don't see each other; on a CUDA device."""
    length = 2 * frames * tokens
    return create_block_mask(rule(frames, tokens, window), None, None, length, length, device.type)
