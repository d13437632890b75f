"""Frames of several cameras: "front+wrist" names them, and their square pictures lie one above the other."""

from typing import Any

import numpy as np

SEPARATOR = "+"


def cameras_of(camera: str) -> list[str]:
    """Names of the cameras that a frame shows, from the top."""
    return camera.split(SEPARATOR)


def frames_of(made: Any) -> dict[str, Any]:
    """How frames are made, as environments take it: ``size``, ``camera`` and ``repeat`` of anything that has them."""
    return {name: getattr(made, name) for name in ("size", "camera", "repeat")}


def frame_shape(size: int, camera: str) -> tuple[int, int, int]:
    """(H, W, 3) of a frame whose pictures have sides of ``size`` pixels."""
    return size * len(cameras_of(camera)), size, 3


def pictures(height: int, width: int) -> int:
    """How many pictures lie one above the other in so many rows and columns."""
    return max(1, height // width)


def beside(frames: np.ndarray) -> np.ndarray:
    """Frames (..., K S, S, 3) with their K pictures next to each other, (..., S, K S, 3), for people to look at."""
    height, width = frames.shape[-3:-1]
    count = pictures(height, width)
    apart = frames.reshape(*frames.shape[:-3], count, height // count, width, 3)
    return np.moveaxis(apart, -4, -3).reshape(*frames.shape[:-3], height // count, count * width, 3)
