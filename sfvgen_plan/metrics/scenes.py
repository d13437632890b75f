"""SCuts: scene cuts that PySceneDetect finds in a video (SlowFast-VGen, section 4.2)."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from sfvgen_plan.video import FRAMES_PER_SECOND


def scene_cuts(video: np.ndarray) -> int | None:
    """How many cuts PySceneDetect's ``ContentDetector`` with its own settings finds in frames (T, H, W, 3) uint8 RGB.

    Cuts less than 15 frames apart count as one, which is its setting too. None where PySceneDetect is not installed.
    """
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
