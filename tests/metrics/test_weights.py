"""Published weights: found in a folder or in torch's cache, and nothing else under their name."""

import hashlib
from dataclasses import replace

import pytest

from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics.weights import ALEXNET, Unavailable


def test_folder_first_then_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    known = replace(ALEXNET, digest=hashlib.sha256(b"right").hexdigest()[:8])
    cache, folder = tmp_path / "cache" / "hub" / "checkpoints", tmp_path / "mine"
    with pytest.raises(Unavailable, match=rf"LPIPS needs {ALEXNET.file}.*{ALEXNET.url}"):
        known.find(folder)
    for place in (cache, folder):
        place.mkdir(parents=True)
        (place / known.file).write_bytes(b"right")
    assert known.find(folder) == folder / known.file
    assert known.find() == cache / known.file


def test_other_content_under_the_same_name_is_refused(tmp_path):
    (tmp_path / ALEXNET.file).write_bytes(b"something else")
    with pytest.raises(UserError, match=f"not those that LPIPS is defined by.*{ALEXNET.digest}"):
        ALEXNET.find(tmp_path)
