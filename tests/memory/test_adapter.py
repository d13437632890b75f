"""A memory saved as a PEFT adapter: PEFT plays it the same, and it comes back as it was."""

import copy
import json
import shutil

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.adapter import ADAM_FILE, CONFIG_FILE, WEIGHTS_FILE, load_memory, save_memory
from sfvgen_plan.memory.learning import FastLearning, learn
from sfvgen_plan.memory.weights import applied, fresh_memory
from sfvgen_plan.model.unet import VideoUNet

SETTINGS = FastLearning(rank=4, alpha=6.0, learning_rate=1e-2)


def denoise(model, frames, memory=None):
    flags = torch.zeros(frames.shape[:2])
    condition = (flags, torch.zeros(*flags.shape, 4), flags, torch.full((len(frames),), 0.3))
    with torch.inference_mode(), applied(model, memory):
        return model.denoise(frames, *condition, torch.ones(len(frames), 2, 16))


@pytest.fixture(scope="module")
def memory(pipeline, unet, seeds, chunks):
    """Two chunks learnt; the output differs clearly from that without memory. Don't change it."""
    memory = fresh_memory(unet, seeds, SETTINGS.rank, SETTINGS.alpha, SETTINGS.targets)
    for chunk in chunks[:2]:
        memory, _ = learn(unet, pipeline.scheduler, memory, chunk, seeds, SETTINGS)
    return memory


@pytest.fixture(scope="module")
def saved(memory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory") / "adapter"
    save_memory(memory, folder, episode=1, base="abc")
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """Of one's own, to spoil."""
    return shutil.copytree(saved, tmp_path / "adapter")


def test_peft_plays_it_the_same(unet, memory, folder, chunks):
    frames = chunks[3][1:2]
    loaded = PeftModel.from_pretrained(copy.deepcopy(unet), folder)
    ours, theirs = denoise(unet, frames, memory.select(torch.tensor([1]))), denoise(loaded.base_model.model, frames)
    assert torch.allclose(ours, theirs, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(ours, denoise(unet, frames), atol=1e-2)


def test_round_trip_is_exact(unet, memory, folder):
    loaded = load_memory(folder, unet, base="abc")
    one = memory.select(torch.tensor([1])).owned()
    assert (loaded.scale, loaded.steps.tolist(), loaded.owner.tolist()) == (one.scale, one.steps.tolist(), [0])
    for part in ("down", "up"):
        ours, theirs = getattr(loaded, part), getattr(one, part)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[layer], theirs[layer]) for layer in ours)
    assert loaded.moments.keys() == one.moments.keys()
    assert all(torch.equal(a, b) for k in one.moments for a, b in zip(loaded.moments[k], one.moments[k], strict=True))


def test_learning_goes_on_exactly(pipeline, unet, memory, folder, seeds, chunks):
    one = memory.select(torch.tensor([1]))
    paths = [
        learn(unet, pipeline.scheduler, start, chunks[2][1:2], seeds[1:2], SETTINGS)[0]
        for start in (one, load_memory(folder, unet))
    ]
    assert all(torch.equal(paths[0].up[layer], paths[1].up[layer]) for layer in paths[0].up)


def test_a_shared_memory_is_saved_for_each_fork(unet, memory, tmp_path):
    save_memory(memory.select(torch.tensor([2, 2, 0])), tmp_path, episode=1)
    loaded = load_memory(tmp_path, unet)
    assert all(torch.equal(loaded.up[layer][0], memory.up[layer][2]) for layer in memory.up)


def test_saving_again_replaces(unet, memory, folder):
    save_memory(memory, folder, episode=0)
    loaded = load_memory(folder, unet)
    assert all(torch.equal(loaded.up[layer][0], memory.up[layer][0]) for layer in memory.up)
    assert sorted(file.name for file in folder.iterdir()) == sorted([ADAM_FILE, CONFIG_FILE, WEIGHTS_FILE])


def test_an_adapter_that_peft_saved_starts_adam_afresh(unet, tmp_path):
    config = LoraConfig(r=3, lora_alpha=6, target_modules=["to_q", "to_out.0"], init_lora_weights=False)
    peft = get_peft_model(copy.deepcopy(unet), config)
    peft.save_pretrained(tmp_path)
    loaded = load_memory(tmp_path, unet)
    assert (loaded.scale, loaded.steps.tolist()) == (2.0, [0])
    assert not any(moment.any() for pair in loaded.moments.values() for moment in pair)
    frames = torch.randn(1, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(denoise(unet, frames, loaded), denoise(peft.base_model.model, frames), atol=1e-5)


def test_an_adapter_of_a_wider_model_is_refused(unet, folder):
    wider = VideoUNet.from_config({**unet.config, "block_out_channels": (32, 32)})
    with pytest.raises(UserError, match=r"another model: .* shape"):
        load_memory(folder, wider)


def test_an_adapter_of_a_deeper_model_is_refused(unet, tmp_path):
    deeper = VideoUNet.from_config({**unet.config, "layers_per_block": 2})
    save_memory(fresh_memory(deeper, torch.tensor([0]), rank=2), tmp_path)
    with pytest.raises(UserError, match=r"another model: .* no linear layer"):
        load_memory(tmp_path, unet)


def test_an_adapter_of_another_checkpoint_is_refused(unet, folder):
    with pytest.raises(UserError, match="'abc', not to 'def'"):
        load_memory(folder, unet, base="def")


@pytest.mark.parametrize("file", [CONFIG_FILE, WEIGHTS_FILE, ADAM_FILE])
@pytest.mark.parametrize("content", [b"", b"{}", None])
def test_damaged_files_are_refused(unet, folder, file, content):
    data = (folder / file).read_bytes()
    (folder / file).write_bytes(data[: len(data) // 2] if content is None else content)
    with pytest.raises(UserError, match=rf"{file}|another model") as caught:
        load_memory(folder, unet)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", [CONFIG_FILE, WEIGHTS_FILE])
def test_missing_files_are_refused(unet, folder, file):
    (folder / file).unlink()
    with pytest.raises(UserError, match=f"{file} is missing"):
        load_memory(folder, unet)


def test_moments_of_other_weights_are_refused(unet, folder):
    weights = load_file(folder / WEIGHTS_FILE)
    save_file({name: 2 * value for name, value in weights.items()}, folder / WEIGHTS_FILE, {"format": "pt"})
    with pytest.raises(UserError, match="delete it"):
        load_memory(folder, unet)


@pytest.mark.parametrize("change", [{"use_dora": True}, {"bias": "all"}, {"peft_type": "IA3"}, {"r": 0}, {"r": "many"}])
def test_other_kinds_of_adapters_are_refused(unet, folder, change):
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps({**config, **change}))
    with pytest.raises(UserError, match="adapter="):
        load_memory(folder, unet)


@pytest.mark.parametrize("episode", [-1, 3])
def test_only_episodes_that_exist_are_saved(memory, tmp_path, episode):
    with pytest.raises(UserError, match=f"episode={episode}"):
        save_memory(memory, tmp_path / "none", episode)
    assert not (tmp_path / "none").exists()
