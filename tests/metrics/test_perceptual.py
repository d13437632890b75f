"""LPIPS by its definition, in NumPy."""

import numpy as np
import pytest
import torch

from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics.perceptual import AlexNetFeatures, Lpips
from sfvgen_plan.metrics.weights import Unavailable

WIDTHS = (64, 192, 384, 256, 256)


@pytest.fixture(scope="module")
def lpips():
    """With random weights: the definition is the same."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return Lpips(AlexNetFeatures(), [torch.rand(width) for width in WIDTHS])


def convolve(values, layer, stride, padding):
    """(C, H, W) -> (C', h, w), then ReLU."""
    weight, bias = layer.weight.double().numpy(), layer.bias.double().numpy()
    padded = np.pad(values, ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], (1, 2))[:, ::stride, ::stride]
    return np.maximum(np.einsum("chwij,ocij->ohw", windows, weight, optimize=True) + bias[:, None, None], 0)


def pool(values):
    return np.lib.stride_tricks.sliding_window_view(values, (3, 3), (1, 2))[:, ::2, ::2].max((-2, -1))


def maps_by_definition(frame, network):
    """A frame (H, W, 3) -> AlexNet's five maps, of unit length at every place."""
    picture = frame.astype(float).transpose(2, 0, 1) / 127.5 - 1
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    layers = network.features
    first = convolve((picture - shift[:, None, None]) / scale[:, None, None], layers["0"], 4, 2)
    second = convolve(pool(first), layers["3"], 1, 2)
    third = convolve(pool(second), layers["6"], 1, 1)
    fourth = convolve(third, layers["8"], 1, 1)
    fifth = convolve(fourth, layers["10"], 1, 1)
    return [m / (np.sqrt((m**2).sum(0)) + 1e-10) for m in (first, second, third, fourth, fifth)]


def test_by_definition(lpips):
    random = np.random.default_rng(0)
    first, second = random.integers(0, 256, (2, 3, 64, 70, 3), np.uint8)
    values = lpips(first, second)
    assert values.shape == (3,)
    expected = 0.0
    maps = (maps_by_definition(frames[1], lpips.network) for frames in (first, second))
    for one, other, weights in zip(*maps, lpips.importance, strict=True):
        expected += np.einsum("chw,c->hw", (one - other) ** 2, weights.double().numpy()).mean()
    assert values[1] == pytest.approx(expected, rel=1e-4)
    assert lpips(first, first) == pytest.approx(0.0, abs=1e-7)


def test_small_frames_are_refused(lpips):
    with pytest.raises(UserError, match="size=32"):
        lpips(np.zeros((1, 32, 32, 3), np.uint8), np.zeros((1, 32, 32, 3), np.uint8))


def test_it_takes_the_weights_of_a_whole_alexnet():
    torch.manual_seed(1)
    other, network = AlexNetFeatures(), AlexNetFeatures()
    network.load({**other.state_dict(), "classifier.1.weight": torch.zeros(2, 2)})
    assert torch.equal(network.features["3"].weight, other.features["3"].weight)


def test_without_the_published_weights_there_is_no_lpips(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    with pytest.raises(Unavailable, match=r"alexnet-owt-7be5be79\.pth"):
        Lpips.published(tmp_path)
