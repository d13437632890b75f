"""Fréchet distance against SciPy's matrix root and against closed forms; I3D from a file."""

import numpy as np
import pytest
import torch

from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics import weights
from sfvgen_plan.metrics.frechet import I3DFeatures, clips, frechet_distance
from sfvgen_plan.metrics.weights import Unavailable


@pytest.mark.parametrize("count", [200, 5])
def test_by_its_definition(count):
    """Also with fewer vectors than dimensions, where the covariances are singular."""
    sqrtm = pytest.importorskip("scipy.linalg").sqrtm
    random = np.random.default_rng(0)
    first = random.standard_normal((count, 8)) @ random.standard_normal((8, 8))
    second = random.standard_normal((count + 3, 8)) @ random.standard_normal((8, 8)) + 0.5
    one, other = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = sqrtm(one @ other).real
    shift = first.mean(0) - second.mean(0)
    assert frechet_distance(first, second) == pytest.approx(shift @ shift + np.trace(one + other - 2 * root), rel=1e-4)


def test_one_dimension_in_closed_form():
    first, second = np.array([[0.0], [2.0]]), np.array([[1.0], [7.0]])
    assert frechet_distance(first, second) == pytest.approx((1 - 4) ** 2 + (2**0.5 - 18**0.5) ** 2)


def test_equal_sets_are_no_distance_apart():
    features = np.random.default_rng(1).standard_normal((20, 6)).astype(np.float32)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(features, features + 1) == pytest.approx(6, rel=1e-5)


def test_one_vector_has_no_covariance():
    with pytest.raises(UserError, match="clips=1"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))


def test_clips_follow_each_other():
    video = np.arange(7)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    assert clips(video, 3)[:, :, 0, 0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert clips(video, 8).shape == (0, 8, 2, 2, 3)


class Detector(torch.nn.Module):
    """Answers like the published file: mean colours over time."""

    def forward(self, videos: torch.Tensor, rescale: bool, resize: bool, return_features: bool) -> torch.Tensor:
        assert rescale and resize and return_features
        return videos.mean(dim=[2, 3, 4])


def test_i3d_is_loaded_from_the_file_and_only_from_the_published_one(tmp_path, monkeypatch):
    import hashlib
    from dataclasses import replace

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    with pytest.raises(Unavailable, match=r"FVD needs i3d_torchscript\.pt"):
        I3DFeatures.published(tmp_path)
    file = tmp_path / "i3d_torchscript.pt"
    torch.jit.script(Detector()).save(str(file))
    with pytest.raises(UserError, match="not those that FVD is defined by"):
        I3DFeatures.published(tmp_path)

    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr("sfvgen_plan.metrics.frechet.I3D", replace(weights.I3D, digest=digest))
    videos = np.zeros((5, 16, 8, 8, 3), np.uint8) + np.array([10, 20, 30], np.uint8)
    features = I3DFeatures.published(tmp_path)(videos, batch=2)
    assert features == pytest.approx(np.tile([10.0, 20.0, 30.0], (5, 1)))
