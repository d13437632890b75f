"""A damaged result store: noticed, and saved but for what is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored_rows import all_rows, seeds, spoil, store_with

from sfvgen_plan.benchmarks import recovery
from sfvgen_plan.benchmarks.recovery import recover
from sfvgen_plan.benchmarks.store import Store
from sfvgen_plan.errors import UserError


@pytest.mark.parametrize("how", ["truncated", "zeroed", "noise", "bit"])
def test_a_damaged_last_page_is_noticed_and_the_other_rows_are_saved(how: str, tmp_path: Path) -> None:
    path = store_with(tmp_path / "all.sqlite", seeds(300))
    spoil(path, -1, how)
    before = path.read_bytes()
    for writable in (True, False):
        with pytest.raises(UserError, match=r"is damaged .*recover"):
            Store(path, writable=writable)
    assert path.read_bytes() == before
    result = recover(path)
    assert result.kept.read_bytes() == before
    assert result.lost is not None
    assert (result.saved + result.lost, result.saved > 200) == (300, True)
    rows = all_rows(path)
    assert len(rows) == result.saved
    assert set(rows) <= set(seeds(300))
    with Store(path) as store:  # What was lost is played again.
        assert store.extend(seeds(300)) == result.lost
        assert store.count() == 300
    assert not list(tmp_path.glob("*-wal"))


@pytest.mark.parametrize("page", range(1, 20))
def test_damage_to_any_page_is_noticed_or_harmless(page: int, tmp_path: Path) -> None:
    path = store_with(tmp_path / "all.sqlite", seeds(300))
    pages = path.stat().st_size // 4096
    if page >= pages:
        pytest.skip(f"the file has {pages} pages")
    spoil(path, page, "noise")
    try:
        rows = all_rows(path)
    except UserError:
        try:
            result = recover(path)
        except UserError as error:
            assert "can't be read at all" in str(error)
            return
        assert result.lost is None or result.saved + result.lost == 300
        assert set(all_rows(path)) <= set(seeds(300))
    else:
        assert rows == seeds(300)


def test_a_recovery_that_was_killed_leaves_nothing_in_the_next_one(tmp_path: Path) -> None:
    path = store_with(tmp_path / "all.sqlite", seeds(50))
    staged = tmp_path / "all.sqlite.recovering"
    with Store(staged, create=True) as store:
        store.extend(seeds(60))
        log = staged.with_name(staged.name + "-wal").read_bytes()
    staged.with_name(staged.name + "-wal").write_bytes(log)
    result = recover(path)
    assert (result.saved, result.lost) == (50, 0)
    assert all_rows(path) == seeds(50)


def test_without_room_for_its_rows_a_store_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unfolded(Store):
        """A log that stays, as where the disk has no room for its rows."""

        def close(self) -> None:
            held.append(self)

    held: list[Store] = []
    path = store_with(tmp_path / "all.sqlite", seeds(50))
    before = path.read_bytes()
    monkeypatch.setattr(recovery, "Store", Unfolded)
    with pytest.raises(UserError, match="no room"):
        recover(path)
    Store.close(held[0])
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert recover(path).saved == 50


def test_a_store_in_use_is_not_recovered(tmp_path: Path) -> None:
    path = store_with(tmp_path / "all.sqlite", seeds(3))
    with Store(path), pytest.raises(UserError, match="in use by another process"):
        recover(path)
    assert all_rows(path) == seeds(3)
