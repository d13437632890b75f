"""Videos of what a memory is good for: first visit, revisit, imagined with memory, imagined without."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sfvgen_plan.benchmarks.memory.revisit import Dream, TrueEpisode
from sfvgen_plan.metrics import psnr
from sfvgen_plan.video import caption, enlarge

SIDE = 256
DARK = 40


def comparison(episode: TrueEpisode, remembering: Dream, forgetful: Dream) -> Iterator[np.ndarray]:
    """Frames of the video, one for each imagined decision, in a square of four pictures."""
    first_of = {int(again): int(first) for first, again in episode.known}
    for number in range(len(remembering.frames)):
        t = episode.seen + 1 + number
        truth = episode.frames[t]
        known = t in first_of
        first = episode.frames[first_of[t]] if known else np.full_like(truth, DARK)
        visit = f"first visit, frame {first_of[t]}" if known else "not seen before, or just now"
        pictures = [
            _panel(first, visit),
            _panel(truth, f"seed {episode.seed}: true frame {t}", known),
            _panel(remembering.frames[number], f"with memory, {_quality(truth, remembering.frames[number])}", known),
            _panel(forgetful.frames[number], f"without, {_quality(truth, forgetful.frames[number])}", known),
        ]
        yield np.concatenate([np.concatenate(pictures[:2], axis=1), np.concatenate(pictures[2:], axis=1)])


def _panel(frame: np.ndarray, text: str, highlight: bool = False) -> np.ndarray:
    return caption(enlarge(frame, SIDE), text, highlight=highlight)


def _quality(truth: np.ndarray, imagined: np.ndarray) -> str:
    return f"PSNR {float(psnr(truth, imagined)):.1f} dB"
