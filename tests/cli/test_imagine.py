"""``sfvgen-plan imagine``: real and imagined side by side."""

import imageio.v2 as imageio
import numpy as np
import pytest

from sfvgen_plan.benchmarks.running.side_by_side import REST

pytestmark = pytest.mark.usefixtures("own_folder")


def imagine(said, checkpoint, *options):
    return said("imagine", "--task", "reach-v3", "--checkpoint", str(checkpoint), "--device", "cpu", *options)


def spans(data):
    return [(chunk["first_decision"], chunk["last_decision"]) for chunk in data["spans"]]


@pytest.mark.parametrize("agent", ["expert", "prior"])
def test_writes_a_video_and_scores_it(agent, tiny_checkpoint, said):
    data = imagine(said, tiny_checkpoint, "--agent", agent, "--decisions", "9", "--out", "seen.mp4")
    assert spans(data) == [(1, 8), (9, 9)]
    assert all(0 < span["psnr_db"] < span["copy_psnr_db"] for span in data["spans"])
    frames = list(imageio.get_reader("seen.mp4").iter_data())
    assert len(frames) == 9 + REST
    assert frames[0].shape == (416, 768, 3)
    # Both halves begin with the same real frame.
    assert np.abs(frames[0][32:, :384].astype(int) - frames[0][32:, 384:].astype(int)).mean() < 3


def test_the_result_is_reproducible(tiny_checkpoint, said):
    first, again, other = (
        imagine(said, tiny_checkpoint, "--decisions", "3", "--seed", seed)["spans"] for seed in ("3", "3", "4")
    )
    assert first == again != other
