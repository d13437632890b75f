"""SRC: the cosine of ResNet-18's features."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import ResNetConfig, ResNetModel

from sfvgen_plan.metrics.places import IMAGENET_MEAN, IMAGENET_STD, SceneRevisit, cosine
from sfvgen_plan.metrics.weights import Unavailable


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder with random weights in the place of the published ones."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    ResNetModel(ResNetConfig(**sizes)).save_pretrained(tmp_path / "resnet-18")
    return tmp_path


def test_frames_are_normalised_as_imagenets() -> None:
    class Mean(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, pictures):
            assert pictures.shape[1:] == (3, 224, 224)
            return SimpleNamespace(pooler_output=pictures.mean((-2, -1), keepdim=True))

    frame = np.zeros((1, 16, 16, 3), np.uint8) + np.array([255, 0, 51], np.uint8)
    expected = (np.array([1.0, 0.0, 0.2]) - IMAGENET_MEAN) / IMAGENET_STD
    assert SceneRevisit(Mean()).features(frame)[0] == pytest.approx(expected, abs=1e-5)


def test_equal_places_have_a_consistency_of_one(weights: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    metric = SceneRevisit.published(weights)
    assert metric(frames, frames) == pytest.approx(1.0, abs=1e-6)
    assert (metric(frames, 255 - frames) < 1 - 1e-6).all()


def test_without_the_published_weights_there_is_no_src(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(Unavailable, match="SRC needs microsoft/resnet-18"):
        SceneRevisit.published(tmp_path)


def test_cosine_of_known_vectors() -> None:
    first = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    second = np.array([[0.0, 3.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    assert cosine(first, second) == pytest.approx([0.0, 0.5**0.5, -1.0, 0.0])
