"""SRC: ResNet-18 with torchvision's weights, beside its definition, and the cosine of its features."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sfvgen_plan.metrics.places import IMAGENET_MEAN, IMAGENET_STD, SceneRevisit, cosine, resnet18


def published():
    """Random weights and statistics under the names and in the shapes of torchvision's ResNet-18."""
    generator = torch.Generator().manual_seed(0)
    weights = {}

    def add(convolution, norm, wide, narrow, side):
        weights[f"{convolution}.weight"] = 0.1 * (torch.rand(wide, narrow, side, side, generator=generator) - 0.5)
        for name in ("weight", "bias", "running_mean", "running_var"):
            weights[f"{norm}.{name}"] = 0.5 + torch.rand(wide, generator=generator)
        weights[f"{norm}.num_batches_tracked"] = torch.tensor(0)

    add("conv1", "bn1", 64, 3, 7)
    for stage, (narrow, wide) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)], start=1):
        for block in range(2):
            place = f"layer{stage}.{block}"
            add(f"{place}.conv1", f"{place}.bn1", wide, wide if block else narrow, 3)
            add(f"{place}.conv2", f"{place}.bn2", wide, wide, 3)
            if stage > 1 and not block:
                add(f"{place}.downsample.0", f"{place}.downsample.1", wide, narrow, 1)
    return {**weights, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


def features_by_definition(weights, pictures):
    """He et al. 2015, from the published names."""

    def layer(values, convolution, norm, stride, padding):
        values = F.conv2d(values, weights[f"{convolution}.weight"], stride=stride, padding=padding)
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(values, *(weights[f"{norm}.{name}"] for name in names))

    values = F.max_pool2d(layer(pictures, "conv1", "bn1", 2, 3).relu(), 3, 2, 1)
    for stage in range(1, 5):
        for block in range(2):
            place, stride = f"layer{stage}.{block}", 2 if stage > 1 and not block else 1
            inside = layer(values, f"{place}.conv1", f"{place}.bn1", stride, 1).relu()
            inside = layer(inside, f"{place}.conv2", f"{place}.bn2", 1, 1)
            if f"{place}.downsample.0.weight" in weights:
                values = layer(values, f"{place}.downsample.0", f"{place}.downsample.1", stride, 0)
            values = (inside + values).relu()
    return values.mean((2, 3))


def test_the_published_weights_give_resnet18():
    torch.set_num_threads(1)
    weights, pictures = published(), torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = features_by_definition(weights, pictures)
        assert expected.std() > 0
        found = resnet18(weights).eval()(pictures).pooler_output.flatten(1)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_frames_are_normalised_as_imagenets():
    class Mean(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, pictures):
            assert pictures.shape[1:] == (3, 224, 224)
            return SimpleNamespace(pooler_output=pictures.mean((-2, -1), keepdim=True))

    frame = np.zeros((1, 16, 16, 3), np.uint8) + np.array([255, 0, 51], np.uint8)
    expected = (np.array([1.0, 0.0, 0.2]) - IMAGENET_MEAN) / IMAGENET_STD
    assert SceneRevisit(Mean()).features(frame)[0] == pytest.approx(expected, abs=1e-5)


def test_equal_places_have_a_consistency_of_one():
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    metric = SceneRevisit(resnet18(published()))
    assert metric(frames, frames) == pytest.approx(1.0, abs=1e-6)
    assert (metric(frames, 255 - frames) < 1 - 1e-6).all()


def test_cosine_of_known_vectors():
    first = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    second = np.array([[0.0, 3.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    assert cosine(first, second) == pytest.approx([0.0, 0.5**0.5, -1.0, 0.0])
