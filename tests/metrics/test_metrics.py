"""Measures of pictures, of numbers read out of them, of videos, and the bundled encoder."""

import numpy as np
import pytest

from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics import MAX_PSNR, error_cm, psnr, scene_cuts
from sfvgen_plan.metrics.encoder import VideoEncoder, cosine


def test_psnr_of_known_values():
    first = np.zeros((3, 2, 4, 4, 3), np.uint8)
    second = np.full_like(first, 255)
    second[1] = 0
    second[2] = 16
    expected = [0.0, MAX_PSNR, 24.0485]  # 20 log10(255 / 16)
    assert psnr(first, second).shape == (3, 2)
    assert psnr(first, second)[:, 0] == pytest.approx(expected, abs=1e-3)
    with pytest.raises(ValueError, match="can't be compared"):
        psnr(np.zeros((4, 4, 3)), np.zeros((5, 4, 3)))


NAMES = ("gripper", "object_x", "object_y", "object_z", "hand_z", "hand_x", "hand_y")


def test_distances_of_the_columns_that_are_named_so():
    truth = np.zeros((2, 3, len(NAMES)), np.float32)
    estimates = truth.copy()
    for name, error in {"hand_y": 0.03, "hand_z": 0.04, "object_x": -0.01, "gripper": 1.0}.items():
        estimates[..., NAMES.index(name)] = error
    np.testing.assert_allclose(error_cm("hand", estimates, truth, NAMES), np.full((2, 3), 5.0), rtol=1e-5)
    np.testing.assert_allclose(error_cm("object", estimates, truth, NAMES), np.full((2, 3), 1.0), rtol=1e-5)
    with pytest.raises(ValueError, match="can't be compared"):
        error_cm("hand", np.zeros((2, 7)), np.zeros((3, 7)), NAMES)
    with pytest.raises(ValueError, match="cup_x"):
        error_cm("cup", estimates, truth, NAMES)


def test_cuts_are_counted():
    pytest.importorskip("scenedetect")
    scenes = [(30, 60, 90), (200, 40, 40), (30, 60, 90), (20, 200, 20)]
    video = np.stack([np.full((32, 32, 3), colour, np.uint8) for colour in scenes]).repeat(40, axis=0)
    assert scene_cuts(video[:40]) == 0
    assert scene_cuts(video[:80]) == 1
    assert scene_cuts(video) == 3
    assert scene_cuts(video[:0]) == 0
    # Slow changes are no cut.
    fade = np.linspace(0, 200, 60).astype(np.uint8)
    assert scene_cuts(np.tile(fade[:, None, None, None], (1, 16, 16, 3))) == 0


def square(x, y):
    frame = np.full((128, 128, 3), 90, np.uint8)
    frame[y : y + 20, x : x + 20] = (200, 30, 30)
    return frame


def test_places_are_told_apart_and_noise_is_not():
    noise = np.random.default_rng(0).normal(0, 4, (128, 128, 3))
    again = np.clip(square(24, 24) + noise, 0, 255).astype(np.uint8)
    features = VideoEncoder.load().frame_features(np.stack([square(24, 24), again, square(88, 88)]))
    assert cosine(features[0], features[1]) > cosine(features[0], features[2]) + 0.1


def test_a_folder_is_read_as_it_was_written_and_bad_ones_told_in_a_line(tmp_path):
    encoder = VideoEncoder((8, 8), 16)
    encoder.save_pretrained(tmp_path / "encoder")
    loaded = VideoEncoder.load(tmp_path / "encoder")
    assert loaded.digest == encoder.digest != VideoEncoder((8, 8), 16).digest
    weights = tmp_path / "encoder" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    for folder in (tmp_path, weights.parent):
        with pytest.raises(UserError, match="can't be loaded"):
            VideoEncoder.load(folder)


def test_cosine_of_known_vectors():
    first = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    second = np.array([[0.0, 3.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    assert cosine(first, second) == pytest.approx([0.0, 0.5**0.5, -1.0, 0.0])
