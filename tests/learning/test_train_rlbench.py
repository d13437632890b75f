"""A checkpoint of RLBench's tasks says what its numbers mean, and under which terms it may be used."""

import numpy as np
import pytest
import torch
from recordings import write_recording

from sfvgen_plan.data.rlbench import convert
from sfvgen_plan.data.rlbench_state import ESTIMATE_NAMES, SOURCE
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import load_checkpoint

TASK = "rlbench/close_box"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, train_in_steps):
    folder = tmp_path_factory.mktemp("rlbench")
    write_recording(folder, "close_box", 0, cameras=("front", "wrist"))
    convert([folder], folder / "data")
    return load_checkpoint(train_in_steps(folder / "data", folder / "out", "train.mirror=true"))


def test_the_numbers_are_rlbenchs(checkpoint):
    card = checkpoint.card
    assert (card.readouts, card.action_dim, card.reward_scale) == (list(ESTIMATE_NAMES), 7, 1.0)
    assert card.raw_steps_per_second == SOURCE.raw_steps_per_second
    mean = dict(zip(ESTIMATE_NAMES, checkpoint.pipeline.transformer.config.estimate_mean, strict=True))
    assert mean["hand_y"] == pytest.approx(0, abs=1e-6) and mean["hand_x"] > 0.02  # as in a mirror, too


def test_both_cameras_are_seen_encoded_alike_and_imagined(checkpoint):
    assert checkpoint.frame_shape == (64, 32, 3)
    simulator = checkpoint.simulator(exact=True)
    frames = np.random.default_rng(0).integers(0, 256, (1, 1, 64, 32, 3), np.uint8)
    latents = simulator.encode(frames)
    exchanged = simulator.encode(np.concatenate([frames[:, :, 32:], frames[:, :, :32]], 2))
    side = latents.shape[-1]
    assert latents.shape[-2] == 2 * side
    torch.testing.assert_close(exchanged[..., :side, :], latents[..., side:, :])
    state = simulator.begin(frames, [TASK], [0], ["close_box, variation 0"])
    state, outcome = simulator.imagine(state, torch.zeros(1, 2, 7))
    assert simulator.decode(outcome.latents).shape == (1, 2, 64, 32, 3)
    simulator.observe(state, frames, torch.zeros(1, 1, 7))
    with pytest.raises(UserError, match=r"\(1, P, 64, 32, 3\) uint8 from camera 'front\+wrist'"):
        simulator.begin(frames[:, :, :32], [TASK], [0])


def test_an_episodes_own_description_is_known_and_the_card_carries_the_licence_of_the_data(checkpoint):
    assert checkpoint.card.sub_goals == [f"close_box, variation {n}" for n in range(3)]
    assert checkpoint.told(TASK, "close_box, variation 2") == "close_box, variation 2"
    assert checkpoint.told(TASK, "close_box, variation 3") == "close box"
    page = (checkpoint.path / "README.md").read_text()
    assert "non-commercial" in page and "Imperial College London" in page and "x_axis_x" in page
