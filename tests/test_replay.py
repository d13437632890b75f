"""CUDA graphs change the speed of a decision and of a training step, not their result."""

import pytest
import torch
from torch import nn

from sfvgen_plan.imagination import Imagination, Imaginer
from sfvgen_plan.model.transformer import VideoTransformer
from sfvgen_plan.replay import PATIENCE, CapturedFunction, CapturedObjective

COUNT = 4


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("kind", "blocks"), [("lora", ()), ("lora", (0, 1)), ("recall", (0, 1))], ids=["plain", "lora", "recall"]
)
def test_replayed_equals_computed_whatever_the_age_of_the_episodes(kind, blocks):
    torch.manual_seed(0)
    network = VideoTransformer(
        latent_channels=4, text_dim=5, readouts=2, window=5, dim=64, depth=2, heads=2, conditioning=16, squeezed=4,
        memory=kind, memory_blocks=blocks, memory_beginning=blocks[1:], memory_rank=16, estimate_mean=[0.0, 0.0],
        estimate_std=[1.0, 1.0],
    ).eval().requires_grad_(False).cuda()  # fmt: skip
    torch.nn.init.normal_(network.out.weight, std=0.2)
    computed, replayed = Imaginer(network), Imaginer(network, compiled=True)

    def both(state, frames):
        actions, shown = torch.rand(COUNT, 2, 4).cuda() * 2 - 1, torch.randn(COUNT, 2, 4, 8, 8).cuda()
        before = {name: part.clone() for name, part in state.tensors().items()}
        if frames:
            ours, theirs = (each.observe_latents(state, shown, actions) for each in (computed, replayed))
        else:
            (ours, _), (theirs, _) = (each.imagine(state, actions) for each in (computed, replayed))
        assert torch.allclose(ours.features, theirs.features, atol=0.05)
        assert torch.allclose(ours.latents, theirs.latents, atol=0.05)
        assert all(torch.equal(before[name], part) for name, part in state.tensors().items())
        return ours

    for frames in (False, True):
        none = torch.zeros(COUNT, dtype=torch.int64, device="cuda")
        state = computed.begun(torch.randn(COUNT, 1, 4, 8, 8).cuda(), torch.randn(COUNT, 5).cuda(), none, none + 3)
        young = state
        for _ in range(PATIENCE + 2):
            both(young, frames)
        for _ in range(PATIENCE + 5):
            state = both(state, frames)
        mixed = Imagination.join([state.select(none[:2]), young.select(none[:2] + 1)])
        both(mixed, frames)
    assert replayed._replays is not None and len(replayed._replays._graphs) == 4


class Objective(nn.Module):
    """A small network with a part that gets no gradient."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x, target):
        error = (torch.tanh(self.used(x)).float() - target).square()
        return {"loss": error.mean(), "largest": error.detach().max()}


@pytest.mark.gpu
def test_captured_steps_have_the_gradients_of_plain_ones_for_every_shape():
    torch.manual_seed(0)
    objective = Objective().cuda()
    captured = CapturedObjective(objective)
    for count in (5, 2, 5):
        batch = {"x": torch.randn(count, 4, device="cuda"), "target": torch.randn(count, 3, device="cuda")}
        replayed, plain = (gradients(objective, forward, batch) for forward in (captured, objective))
        assert all(torch.equal(a, b) for a, b in zip(replayed, plain, strict=True))


def gradients(objective, forward, batch):
    """One of the losses, and the gradient of the part that is used."""
    objective.zero_grad()
    with torch.autocast("cuda", torch.bfloat16):
        losses = forward(**batch)
    losses["loss"].backward()
    assert objective.used.weight.grad is not None
    return losses["largest"].clone(), objective.used.weight.grad.clone()


@pytest.mark.gpu
def test_captured_functions_see_new_weights_and_return_tensors_of_their_own():
    layer = nn.Linear(4, 3).cuda().requires_grad_(False)
    captured = CapturedFunction(layer)
    x = torch.randn(2, 4, device="cuda")
    first = captured(x)
    with torch.no_grad():
        layer.bias.add_(1.0)
    second = captured(x)
    torch.testing.assert_close(second, first + 1, rtol=0, atol=0.02)
    assert captured(torch.randn(7, 4, device="cuda")).shape == (7, 3)
