"""A checkpoint comes back as it was saved; a damaged one is one clear line."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

from sfvgen_plan.catalogue import BUNDLED, CARD_FILE
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import STARTS_FILE, load_checkpoint, save_checkpoint
from sfvgen_plan.model.logs import LIBRARIES, held_back


@pytest.fixture
def copy(small_checkpoint, tmp_path):
    return Path(shutil.copytree(small_checkpoint, tmp_path / "copy"))


def test_card_and_starts_come_back(small_checkpoint):
    loaded = load_checkpoint(small_checkpoint)
    assert (loaded.tasks, loaded.size, loaded.camera, loaded.repeat) == (["reach-v3", "push-v3"], 32, "corner4", 5)
    assert loaded.card.training == {"seed": 0}
    assert loaded.task_index("push-v3") == 1
    assert {task: tuple(starts.shape) for task, starts in loaded.starts.items()} == dict.fromkeys(
        loaded.tasks, (2, 4, 8, 8)
    )
    with pytest.raises(UserError, match=r"task='door-open-v3' is not in the checkpoint .*reach-v3, push-v3"):
        loaded.task_index("door-open-v3")
    files = [file for file in small_checkpoint.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".safetensors", ".json", ".md"}


def test_weights_come_back_in_single_precision(small_checkpoint, make_pipeline):
    saved, loaded = make_pipeline(), load_checkpoint(small_checkpoint).pipeline
    for name in ("vae", "transformer", "text_encoder"):
        weights = getattr(loaded, name).state_dict()
        for key, value in getattr(saved, name).state_dict().items():
            assert weights[key].equal(value.bfloat16().float()), f"{name}.{key}"
            assert weights[key].dtype == torch.float32


def test_a_name_is_that_of_a_checkpoint_in_the_package(small_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_checkpoint("metaworld50").hash == load_checkpoint().hash
    assert load_checkpoint("metaworld50").path == BUNDLED
    with pytest.raises(UserError, match=r"'metaworld51' holds no .*or one of .*metaworld50"):
        load_checkpoint("metaworld51")
    for nothing in ("./metaworld50", tmp_path / "nothing"):
        with pytest.raises(UserError, match=f"holds no {CARD_FILE}"):
            load_checkpoint(nothing)
    shutil.copytree(small_checkpoint, "metaworld50")  # what lies here comes first
    assert load_checkpoint("metaworld50").hash == load_checkpoint(small_checkpoint).hash


FILES = [
    CARD_FILE,
    STARTS_FILE,
    "model_index.json",
    "transformer/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
    "vae/config.json",
    "tokenizer/tokenizer.json",
]


@pytest.mark.parametrize("file", FILES)
def test_missing_and_truncated_files(copy, file):
    content = (copy / file).read_bytes()
    for half in (content[: len(content) // 2], None):
        (copy / file).unlink() if half is None else (copy / file).write_bytes(half)
        with pytest.raises(UserError, match=rf"checkpoint=.*copy'.*{'damaged' if half else ''}") as caught:
            load_checkpoint(copy)
        assert "\n" not in str(caught.value)


def test_the_libraries_add_no_lines_of_their_own(copy, small_checkpoint, capfd):
    """And speak as before once the loading is over."""
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    load_checkpoint(small_checkpoint)
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    (copy / "transformer/diffusion_pytorch_model.safetensors").unlink()
    capfd.readouterr()
    with pytest.raises(UserError):
        load_checkpoint(copy)
    assert capfd.readouterr() == ("", "")
    assert [(logger.handlers, logger.level, logger.propagate) for logger in loggers] == before


def test_warnings_of_what_was_loaded_are_shown(caplog):
    logger = logging.getLogger("diffusers")
    handlers, propagate = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [caplog.handler], False
    try:
        with held_back():
            logging.getLogger("diffusers.models").warning("a weight is new")
            assert caplog.messages == []
    finally:
        logger.handlers, logger.propagate = handlers, propagate
    assert caplog.messages == ["a weight is new"]


@pytest.mark.parametrize(
    "change",
    [
        {"tasks": ["reach-v3"]},
        {"tasks": {}},
        {"tasks": {"reach-v3": 3}},
        {"size": "32"},
        {"repeat": 0},
        {"raw_steps_per_second": None},
        {"flavour": "sweet"},
        None,
    ],
)
def test_a_card_that_says_something_else(copy, change):
    card = json.loads((copy / CARD_FILE).read_text())
    (copy / CARD_FILE).write_text("[1, 2]" if change is None else json.dumps({**card, **change}))
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(copy)


def test_neither_pickles_nor_code_in_the_folder_are_run(copy):
    weights = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(UserError, match="safetensors"):
        load_checkpoint(copy)
    marker = copy / "was-here"
    for folder, module in (("transformer", "own"), (".", "pipeline")):
        (copy / folder / f"{module}.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    index = json.loads((copy / "model_index.json").read_text())
    index["transformer"] = ["own", "VideoTransformer"]
    (copy / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(copy)
    assert not marker.exists()


def test_hash_is_that_of_the_weights_and_their_settings(small_checkpoint, copy):
    original = load_checkpoint(small_checkpoint).hash
    assert len(original) == 12
    assert load_checkpoint(copy).hash == original
    card = json.loads((copy / CARD_FILE).read_text())
    (copy / CARD_FILE).write_text(json.dumps(card))
    assert load_checkpoint(copy).hash == original
    weights = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    other = load_checkpoint(copy).hash
    assert other != original
    settings = copy / "transformer" / "config.json"
    settings.write_text(settings.read_text().replace('"reward_scale": 1.0', '"reward_scale": 11.0'))
    assert load_checkpoint(copy).hash not in (original, other)


def test_a_checkpoint_made_of_another_tells_no_path(small_checkpoint, tmp_path):
    loaded = load_checkpoint(small_checkpoint)
    save_checkpoint(tmp_path / "again", loaded.pipeline, loaded.card, loaded.starts)
    for file in (tmp_path / "again").rglob("*.json"):
        assert str(small_checkpoint) not in file.read_text()
    assert load_checkpoint(tmp_path / "again").hash == loaded.hash
