"""Videos: complete or not there."""

import imageio.v2 as imageio
import numpy as np
import pytest

from sfvgen_plan.errors import UserError
from sfvgen_plan.video import BAR_HEIGHT, caption, check_video_path, write_video

FRAME = np.full((128, 128, 3), 200, np.uint8)


@pytest.mark.parametrize("name", ["a.mp4", "a.webp"])
def test_a_video_has_the_frames_that_were_written_and_other_paths_are_refused(name, tmp_path):
    pictures = [np.full((96, 64, 3), level, np.uint8) for level in (0, 120, 240)]
    write_video(tmp_path / name, pictures)
    frames = list(imageio.get_reader(tmp_path / name).iter_data())
    assert [frame.shape for frame in frames] == [(96, 64, 3)] * 3
    assert [frame.mean() for frame in frames] == pytest.approx([0, 120, 240], abs=6)
    for wrong in ("a.avi", "a", f"{'long' * 80}.mp4"):
        with pytest.raises(UserError, match="video="):
            check_video_path(tmp_path / wrong)


def test_captions_stand_above_the_frame():
    plain, green = caption(FRAME, "decision 3"), caption(FRAME, "decision 3", highlight=True)
    assert plain.shape == (128 + BAR_HEIGHT, 128, 3)
    assert (plain[BAR_HEIGHT:] == FRAME).all()
    assert plain[:BAR_HEIGHT].max() > 200  # there is text
    assert green[0, 0].argmax() == 1
