"""The bundled encoder: what its features tell, and its folder."""

import numpy as np
import pytest

from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics.encoder import VideoEncoder, cosine


def square(x, y):
    frame = np.full((128, 128, 3), 90, np.uint8)
    frame[y : y + 20, x : x + 20] = (200, 30, 30)
    return frame


def test_places_are_told_apart_and_noise_is_not():
    noise = np.random.default_rng(0).normal(0, 4, (128, 128, 3))
    again = np.clip(square(24, 24) + noise, 0, 255).astype(np.uint8)
    features = VideoEncoder.load().frame_features(np.stack([square(24, 24), again, square(88, 88)]))
    assert cosine(features[0], features[1]) > cosine(features[0], features[2]) + 0.1


def test_a_folder_is_read_as_it_was_written(tmp_path):
    encoder = VideoEncoder((8, 8), 16)
    encoder.save_pretrained(tmp_path / "encoder")
    loaded = VideoEncoder.load(tmp_path / "encoder")
    assert loaded.digest == encoder.digest != VideoEncoder((8, 8), 16).digest


def test_bad_folders_are_told_in_a_line(tmp_path):
    with pytest.raises(UserError, match="can't be loaded"):
        VideoEncoder.load(tmp_path)
    VideoEncoder((8, 8), 16).save_pretrained(tmp_path)
    weights = tmp_path / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(UserError, match="can't be loaded"):
        VideoEncoder.load(tmp_path)


def test_cosine_of_known_vectors():
    first = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    second = np.array([[0.0, 3.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    assert cosine(first, second) == pytest.approx([0.0, 0.5**0.5, -1.0, 0.0])
