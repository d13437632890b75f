"""SRC: ResNet-18's features beside another implementation of it, and their cosine."""

import numpy as np
import pytest
import torch

from sfvgen_plan.metrics.networks import IMAGENET_MEAN, IMAGENET_STD, ResNet18Features
from sfvgen_plan.metrics.places import SceneRevisit, cosine


def randomised(network):
    """Weights and running statistics that no layer can be skipped with."""
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        noise = torch.rand(value.shape, generator=generator)
        value.copy_(0.5 + noise if "var" in name or "bn" in name else 0.1 * (noise - 0.5))
    return network.eval()


def as_transformers(name):
    """The name in transformers' ResNet of one of ours."""
    if name.startswith(("conv1.", "bn1.")):
        part = "convolution" if name.startswith("conv1") else "normalization"
        return f"embedder.embedder.{part}.{name.partition('.')[2]}"
    stage, block, rest = name[5:].split(".", 2)
    place = f"encoder.stages.{int(stage) - 1}.layers.{block}"
    if rest.startswith("downsample."):
        part = {"0": "convolution", "1": "normalization"}[rest.split(".")[1]]
        return f"{place}.shortcut.{part}.{rest.split('.', 2)[2]}"
    part = "convolution" if rest.startswith("conv") else "normalization"
    layer, _, leaf = rest.partition(".")
    return f"{place}.layer.{int(layer[-1]) - 1}.{part}.{leaf}"


def test_features_are_those_of_another_implementation():
    from transformers import ResNetConfig, ResNetModel

    torch.set_num_threads(1)
    config = ResNetConfig(
        embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic", hidden_act="relu"
    )
    other, ours = ResNetModel(config).eval(), randomised(ResNet18Features())
    other.load_state_dict({as_transformers(name): value for name, value in ours.state_dict().items()})
    pictures = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = other(pictures).pooler_output.flatten(1)
        assert expected.std() > 0
        torch.testing.assert_close(ours(pictures), expected, rtol=1e-4, atol=1e-5)


def test_it_takes_the_weights_of_a_whole_resnet():
    given, network = randomised(ResNet18Features()), ResNet18Features()
    network.load({**given.state_dict(), "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)})
    assert torch.equal(network.layer3[0].downsample[0].weight, given.layer3[0].downsample[0].weight)


def test_frames_are_normalised_as_imagenets():
    class Mean(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = torch.nn.Conv2d(1, 1, 1)

        def forward(self, pictures):
            assert pictures.shape[1:] == (3, 224, 224)
            return pictures.mean((-2, -1))

    frame = np.zeros((1, 16, 16, 3), np.uint8) + np.array([255, 0, 51], np.uint8)
    expected = (np.array([1.0, 0.0, 0.2]) - IMAGENET_MEAN) / IMAGENET_STD
    assert SceneRevisit(Mean()).features(frame)[0] == pytest.approx(expected, abs=1e-5)


def test_equal_places_have_a_consistency_of_one():
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    metric = SceneRevisit(randomised(ResNet18Features()))
    assert metric(frames, frames) == pytest.approx(1.0, abs=1e-6)
    assert (metric(frames, 255 - frames) < 1 - 1e-6).all()


def test_cosine_of_known_vectors():
    first = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    second = np.array([[0.0, 3.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    assert cosine(first, second) == pytest.approx([0.0, 0.5**0.5, -1.0, 0.0])
