"""Videos of episodes: enlarged frames with captions, written as mp4, or as WebP pictures that move, for pages."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_plan.cameras import beside
from sfvgen_plan.errors import UserError
from sfvgen_plan.io import atomic, check_writable

BAR_HEIGHT = 32  # pixels of a caption bar; a multiple of 16, which video codecs like
SUFFIXES = (".mp4", ".webp")
FRAMES_PER_SECOND = 8  # half of real time at 5 raw steps of 1/80 s per frame: slow enough to follow
QUALITY = 8  # of 10


def enlarge(frame: np.ndarray, side: int = 384) -> np.ndarray:
    """Frame (H, W, 3) uint8 with every pixel repeated, to about ``side`` pixels, never smaller than it was; pictures of
    several cameras next to each other."""
    frame = beside(frame)
    factor = max(1, side // frame.shape[0])
    return frame.repeat(factor, axis=0).repeat(factor, axis=1)


def caption(frame: np.ndarray, text: str, highlight: bool = False) -> np.ndarray:
    """Frame (H, W, 3) uint8 with a bar of text above it: (H + BAR_HEIGHT, W, 3); ``highlight`` makes the bar green."""
    from PIL import Image, ImageDraw, ImageFont

    bar = Image.new("RGB", (frame.shape[1], BAR_HEIGHT), (20, 110, 50) if highlight else (30, 30, 30))
    draw = ImageDraw.Draw(bar)
    draw.text((8, BAR_HEIGHT // 2), text, fill=(255, 255, 255), font=ImageFont.load_default(size=16), anchor="lm")
    return np.concatenate([np.asarray(bar), frame])


def check_video_path(path: Path, argument: str = "video") -> None:
    """UserError for a name that can't become a video, before time is spent on its frames."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"{argument}={str(path)!r} is no video; give a name that ends in .mp4, or in .webp for a picture that moves"
        )
    check_writable(path, argument)


def write_video(path: Path, frames: Iterable[np.ndarray]) -> None:
    """Write frames (H, W, 3) uint8 of one size, as H.264, or as WebP where ``path`` ends so; it appears when it is
    complete."""
    with atomic(path, "video") as staged:
        (_write_webp if path.suffix.lower() == ".webp" else _write_mp4)(staged, frames)


def _write_mp4(path: Path, frames: Iterable[np.ndarray]) -> None:
    import imageio.v2 as imageio

    # imageio would resize frames to multiples of 16; the codec itself only needs even sides.
    writer: Any = imageio.get_writer(path, fps=FRAMES_PER_SECOND, macro_block_size=2, quality=QUALITY)
    try:  # As a context manager it would stay open after an error.
        for frame in frames:
            writer.append_data(frame)
    finally:
        writer.close()


def _write_webp(path: Path, frames: Iterable[np.ndarray]) -> None:
    from PIL import Image

    first, *others = map(Image.fromarray, frames)
    moving: Any = {"save_all": True, "append_images": others, "duration": 1000 // FRAMES_PER_SECOND, "loop": 0}
    # Pages should load fast, and half of the codec's scale, which goes up to 100, looks as good.
    first.save(path, "webp", **moving, quality=6 * QUALITY, method=4)
