"""Checkpoints by name and by what they cover, told without loading them."""

import pytest

from sfvgen_plan import catalogue
from sfvgen_plan.catalogue import BUNDLED
from sfvgen_plan.errors import UserError


def test_checkpoints_are_found_by_name_and_folder_and_an_unknown_one_told_with_all_there_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert catalogue.find_checkpoint(None) == BUNDLED
    for name, folder in catalogue.known_checkpoints().items():
        assert catalogue.find_checkpoint(name) == catalogue.find_checkpoint(folder) == folder
    (tmp_path / "metaworld50").mkdir()  # a folder without a checkpoint hides no checkpoint of that name
    assert catalogue.find_checkpoint("metaworld50") == BUNDLED
    with pytest.raises(UserError, match=r"^without='nope' holds no checkpoint.json.*, or one of .*metaworld50"):
        catalogue.find_checkpoint("nope", "without")


def test_tasks_that_it_does_not_cover_are_told_with_one_that_does(small_checkpoint):
    catalogue.check_covers(small_checkpoint, ["reach-v3", "push-v3"])
    with pytest.raises(UserError, match=r"it covers reach-v3, push-v3\); give --checkpoint .*metaworld50"):
        catalogue.check_covers(small_checkpoint, ["reach-v3", "drawer-open-v3"])
    with pytest.raises(UserError, match=r"sfvgen-plan collect.*sfvgen-plan train"):
        catalogue.check_covers(None, ["mine/task"])
