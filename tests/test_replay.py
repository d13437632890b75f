"""Replayed decisions are the decisions that would have been computed."""

import pytest
import torch

from sfvgen_plan.imagination import Imagination, Imaginer
from sfvgen_plan.model.transformer import VideoTransformer
from sfvgen_plan.replay import PATIENCE

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
