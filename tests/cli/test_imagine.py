"""``sfvgen-plan imagine``: real and imagined side by side."""

import imageio.v2 as imageio
import numpy as np
import pytest

from sfvgen_plan.benchmarks.running.side_by_side import REST

pytestmark = pytest.mark.usefixtures("own_folder")


def test_writes_a_video_and_scores_it_and_the_result_is_reproducible(tiny_checkpoint, said):
    def imagined(agent, seed, *options):
        given = ("--agent", agent, "--seed", seed, "--checkpoint", str(tiny_checkpoint), "--device", "cpu")
        return said("imagine", "--task", "reach-v3", *given, *options)["spans"]

    scored = imagined("expert", "3", "--decisions", "9", "--out", "seen.mp4")
    assert [(span["first_decision"], span["last_decision"]) for span in scored] == [(1, 8), (9, 9)]
    assert all(0 < span["psnr_db"] < span["copy_psnr_db"] for span in scored)
    frames = list(imageio.get_reader("seen.mp4").iter_data())
    assert len(frames) == 9 + REST
    assert frames[0].shape == (416, 768, 3)
    # Both halves begin with the same real frame.
    assert np.abs(frames[0][32:, :384].astype(int) - frames[0][32:, 384:].astype(int)).mean() < 3
    first, again, other = (imagined("prior", seed, "--decisions", "2") for seed in ("3", "3", "4"))
    assert first == again != other
