"""How close imagined videos are to real ones: pixels, state read-outs, scene cuts; and features (``encoder``)."""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from sfvgen_plan.video import FRAMES_PER_SECOND

MAX_PSNR = 100.0  # stands for equal frames, whose ratio is infinite and would swallow every mean


def psnr(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio (...) float32 in dB of frames (..., H, W, C) of values 0 to 255, at most ``MAX_PSNR``.
    Raises ValueError: the shapes differ or are no frames."""
    if first.shape != second.shape or first.ndim < 3:
        raise ValueError(f"frames of shape {first.shape} and {second.shape} can't be compared")
    error = np.square(first.astype(np.float32) - second.astype(np.float32)).mean(axis=(-3, -2, -1))
    with np.errstate(divide="ignore"):
        return np.minimum(10 * np.log10(255.0**2 / error), MAX_PSNR).astype(np.float32)


def error_cm(thing: str, estimates: np.ndarray, truth: np.ndarray, readouts: Sequence[str]) -> np.ndarray:
    """Distance (...) between the place of ``thing`` read out of imagined frames and the true one, both (..., D) in
    metres. ``readouts`` names the D numbers, "hand_x" and so on. Raises ValueError: the shapes differ, or nothing of
    that name is read out."""
    if estimates.shape != truth.shape:
        raise ValueError(f"read-outs of shape {estimates.shape} and {truth.shape} can't be compared")
    names = [f"{thing}_{axis}" for axis in "xyz"]
    if missing := sorted(set(names) - set(readouts)):
        raise ValueError(f"{', '.join(missing)} is not read out, but {', '.join(readouts)}")
    place = [readouts.index(name) for name in names]
    return 100 * np.linalg.norm(estimates[..., place] - truth[..., place], axis=-1)


def scene_cuts(video: np.ndarray) -> int | None:
    """SCuts (SlowFast-VGen, section 4.2): how many cuts PySceneDetect's ``ContentDetector`` with its own settings finds
    in frames (T, H, W, 3) uint8 RGB; those less than 15 frames apart count as one. None where it is not installed."""
    if find_spec("scenedetect") is None:
        return None
    import scenedetect as library

    detector = library.ContentDetector()
    found = []
    for number, frame in enumerate(video):
        time = library.FrameTimecode(number, float(FRAMES_PER_SECOND))
        found += detector.process_frame(time, np.ascontiguousarray(frame[..., ::-1]))  # OpenCV's order of colours
    if len(video):
        found += detector.post_process(library.FrameTimecode(len(video), float(FRAMES_PER_SECOND)))
    return len(found)
