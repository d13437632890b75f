"""What the memory programs ask of a learned simulator: all that depends on how it remembers is here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import torch

from sfvgen_plan.errors import unknown_name
from sfvgen_plan.memory.rows import ROWS, MemoryRow, row_of
from sfvgen_plan.settings import changed

if TYPE_CHECKING:
    from sfvgen_plan.model.checkpoint import Checkpoint
    from sfvgen_plan.simulation import Outcome
    from sfvgen_plan.simulator import Imagination, LearnedSimulator

__all__ = ["ROWS", "WITH", "WITHOUT", "chunks", "continued", "in_batches", "shown", "simulator_of"]

WITH, WITHOUT = "full", "no_temp_lora"
"""The row of the method, and the row without a memory, which the others are compared with."""


def simulator_of(
    checkpoint: Checkpoint, row: str, sampler_steps: int = 3, changes: Sequence[str] = ()
) -> LearnedSimulator:
    """The checkpoint's simulator with the memory and the number of clean frames of a row of the ablation.

    Args:
        checkpoint: trained on the tasks that are to be imagined.
        row: one of ``ROWS``.
        sampler_steps: denoising steps of a chunk.
        changes: ``key=value`` for settings of the row's fast learning; a row without memory has none to change.

    Raises:
        UserError: no such row or setting, or a value that makes no sense.
    """
    if row not in ROWS:
        raise unknown_name("row", row, ROWS)
    found = row_of(row)
    if changes and found.fast_learning is not None:
        known = asdict(found.fast_learning)
        learning = changed({**known, "targets": list(known["targets"])}, changes)
        found = MemoryRow.of({**asdict(found), "fast_learning": learning})
    return checkpoint.simulator(sampler_steps, found.fast_learning, False, found.context_frames)


def shown(
    simulator: LearnedSimulator,
    task: str,
    seeds: Sequence[int],
    frames: Sequence[np.ndarray],
    actions: Sequence[np.ndarray],
    chunk: int,
) -> Imagination:
    """States after real episodes, with what was remembered of them chunk by chunk.

    Args:
        simulator: of ``simulator_of``.
        task: of all episodes.
        seeds: (N) of their noise.
        frames: of each episode (T + 1, H, W, 3) uint8; T may differ between those that ``in_batches`` put together.
        actions: of each episode (T, A).
        chunk: decisions that are learned from at a time.
    """
    learning, context = simulator.fast_learning, simulator.context_frames
    whole = learning is not None and learning.keeps_all
    lengths = [len(own) for own in actions]

    def part(episode: int, first: int, end: int) -> np.ndarray:
        return frames[episode][0 if whole else max(0, first) : end]

    newest = np.stack([part(n, length + 1 - max(context, 2), length + 1) for n, length in enumerate(lengths)])
    state = simulator.begin(newest, [task] * len(seeds), list(seeds))
    if learning is None:
        return state
    memories: list = [None] * len(seeds)
    for start in range(0, max(lengths), chunk):
        stops = [min(start + chunk, length) for length in lengths]
        for stop in sorted({stop for stop in stops if stop > start}):  # episodes of one call end together
            alike = [episode for episode, other in enumerate(stops) if other == stop]
            learned = simulator.remember_frames(
                [memories[episode] for episode in alike],
                np.stack([part(episode, start + 1 - context, stop + 1) for episode in alike]),
                np.stack([actions[episode][start:stop] for episode in alike]),
                [task] * len(alike),
                [seeds[episode] for episode in alike],
            )
            for episode, memory in zip(alike, learned, strict=True):
                memories[episode] = memory
    return simulator.recall(state, memories)


def chunks(simulator: LearnedSimulator, state: Imagination, actions: np.ndarray, chunk: int) -> Iterator[Outcome]:
    """Imagine ``actions`` (N, T, A) in chunks of so many decisions; each is remembered after it was given out."""
    for start in range(0, actions.shape[1], chunk):
        part = torch.from_numpy(actions[:, start : start + chunk]).to(simulator.device)
        state, outcome = simulator.imagine(state, part)
        yield outcome
        if simulator.fast_learning is not None:
            state = simulator.remember(state)


def continued(
    simulator: LearnedSimulator, state: Imagination, actions: np.ndarray, chunk: int
) -> tuple[np.ndarray, np.ndarray]:
    """What ``chunks`` imagines: frames (N, T, H, W, 3) uint8 and read-outs (N, T, D)."""
    frames, estimates = [], []
    for outcome in chunks(simulator, state, actions, chunk):
        assert outcome.latents is not None, "the learned simulator always has them"
        frames.append(simulator.decode(outcome.latents))
        estimates.append(outcome.estimates.float().cpu().numpy())
    return np.concatenate(frames, axis=1), np.concatenate(estimates, axis=1)


def in_batches(simulator: LearnedSimulator, lengths: Sequence[int]) -> list[list[int]]:
    """Which episodes can be imagined together after so many decisions were shown: all, or for the rule "whole", whose
    states hold all frames, those of one length."""
    if simulator.fast_learning is None or not simulator.fast_learning.keeps_all:
        return [list(range(len(lengths)))]
    return [[n for n, other in enumerate(lengths) if other == length] for length in sorted(set(lengths))]
