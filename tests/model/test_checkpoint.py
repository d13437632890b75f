"""A checkpoint comes back as it was saved; a damaged one is one clear line."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

from sfvgen_plan.catalogue import BUNDLED, CARD_FILE, check_covers, find_checkpoint, known_checkpoints
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


def test_checkpoints_are_found_by_name_and_folder_and_unknown_ones_told_with_all_there_are(
    small_checkpoint, own_folder
):
    assert load_checkpoint().path == find_checkpoint(None) == BUNDLED
    for name, folder in known_checkpoints().items():
        assert find_checkpoint(name) == find_checkpoint(folder) == folder
    with pytest.raises(UserError, match=rf"^without='nope' holds no {CARD_FILE}.*, or one of .*metaworld50"):
        find_checkpoint("nope", "without")
    for nothing in ("metaworld51", "./metaworld50", own_folder / "nothing"):
        with pytest.raises(UserError, match=f"^checkpoint=.* holds no {CARD_FILE}"):
            load_checkpoint(nothing)
    Path("metaworld50").mkdir()  # a folder without a checkpoint hides no checkpoint of that name
    assert find_checkpoint("metaworld50") == BUNDLED
    shutil.copytree(small_checkpoint, "metaworld50", dirs_exist_ok=True)  # but one that lies here comes first
    assert load_checkpoint("metaworld50").hash == load_checkpoint(small_checkpoint).hash


def test_tasks_that_it_does_not_cover_are_told_with_one_that_does(small_checkpoint):
    check_covers(small_checkpoint, ["reach-v3", "push-v3"])
    with pytest.raises(UserError, match=r"it covers reach-v3, push-v3\); give --checkpoint .*metaworld50"):
        check_covers(small_checkpoint, ["reach-v3", "drawer-open-v3"])
    with pytest.raises(UserError, match=r"sfvgen-plan collect.*sfvgen-plan train"):
        check_covers(None, ["mine/task"])


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


def test_a_card_that_says_something_else(copy):
    card = json.loads((copy / CARD_FILE).read_text())
    tasks = [{"tasks": tasks} for tasks in (["reach-v3"], {}, {"reach-v3": 3})]
    changes = [*tasks, {"size": "32"}, {"repeat": 0}, {"raw_steps_per_second": None}, {"flavour": "sweet"}]
    for said in ([1, 2], *({**card, **change} for change in changes)):
        (copy / CARD_FILE).write_text(json.dumps(said))
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
