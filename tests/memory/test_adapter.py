"""A Temp-LoRA is a PEFT adapter: PEFT loads it, and the same frames come of it."""

import copy
from dataclasses import replace

import pytest
import torch

from sfvgen_plan.errors import UserError
from sfvgen_plan.imagination import Imaginer
from sfvgen_plan.memory.adapter import with_adapter
from sfvgen_plan.model.checkpoint import load_checkpoint


def simulator_of(make_checkpoint, seed=0, **changes):
    layers = {"depth": 3, "memory_blocks": [0, 2], "memory_rank": 8, **changes}
    return load_checkpoint(make_checkpoint(std=0.2, transformer=layers, seed=seed)).simulator(exact=True)


def test_peft_loads_it_and_gives_the_same_frames(make_checkpoint, tmp_path):
    simulator = simulator_of(make_checkpoint)
    torch.manual_seed(0)
    state = simulator.begin_latents(torch.randn(2, 1, 4, 8, 8), ["reach-v3", "reach-v3"], [1, 2])
    state, _ = simulator.imagine(state, torch.rand(2, 17, 4))
    simulator.save_memory(state, tmp_path / "adapter", episode=1)
    one, actions = simulator.select(state, [1]), torch.rand(1, 3, 4)
    expected = simulator.imagine(one, actions)[1].latents
    assert expected is not None

    empty = simulator.begin_latents(torch.randn(1, 1, 4, 8, 8), ["reach-v3"], [1])
    forgotten = replace(one, cache=replace(one.cache, memory=empty.memory))
    other = simulator.imagine(forgotten, actions)[1].latents
    assert other is not None and not torch.allclose(other, expected, atol=1e-4)

    network = copy.deepcopy(simulator.network)
    adapted = with_adapter(network, tmp_path / "adapter").base_model.model
    found = Imaginer(adapted, remembers=False).imagine(forgotten, actions)[1].latents
    assert found is not None and torch.allclose(found, expected, atol=1e-4)

    loaded = simulator.load_memory(forgotten, tmp_path / "adapter")
    went_on = [simulator.imagine(each, torch.ones(1, 9, 4))[1].latents for each in (loaded, one)]
    assert torch.allclose(went_on[0], went_on[1], atol=1e-5)  # it goes on learning, too


def test_what_is_no_adapter_of_the_checkpoint_is_refused(make_checkpoint, tmp_path):
    simulator = simulator_of(make_checkpoint)
    state = simulator.begin_latents(torch.randn(1, 1, 4, 8, 8), ["reach-v3"], [1])
    with pytest.raises(UserError, match="is no adapter of this checkpoint"):
        simulator.load_memory(state, tmp_path)
    simulator.save_memory(state, tmp_path / "adapter")
    other = simulator_of(make_checkpoint, seed=1)
    with pytest.raises(UserError, match="its A is that of another network"):
        other.load_memory(state, tmp_path / "adapter")
    recall = simulator_of(make_checkpoint, memory="recall")
    begun = recall.begin_latents(torch.randn(1, 1, 4, 8, 8), ["reach-v3"], [1])
    with pytest.raises(UserError, match="no Temp-LoRA to save"):
        recall.save_memory(begun, tmp_path / "nothing")
