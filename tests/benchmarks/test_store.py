"""The result store: a row comes back as it was, an episode counts once, and nothing that was stored is lost."""

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from stored_rows import BROKEN, ROW, all_rows, seeds, store_with

from sfvgen_plan.benchmarks.results.store import VERSION, Store
from sfvgen_plan.errors import UserError


def test_a_row_comes_back_as_it_was_as_soon_as_it_is_added(tmp_path):
    rows = [*seeds(2), replace(BROKEN, seed=4)]
    with Store(tmp_path / "new" / "all.sqlite", create=True) as store:
        for row in rows:
            assert store.add([row]) == 1
            assert all_rows(store.path)[-1] == row
    assert all_rows(store.path) == rows


def test_an_episode_counts_once_but_one_that_broke_off_may_be_played_again(tmp_path):
    again = replace(BROKEN, run="r2")
    with Store(tmp_path / "all.sqlite", create=True) as store:
        for row, kept in ((BROKEN, BROKEN), (again, again), (ROW, ROW), (again, ROW)):
            store.add([row])
            assert store.rows() == [kept]
        assert store.add([ROW, replace(ROW, run="r2", return_=5.0)]) == 0
        assert store.rows() == [ROW]
        assert store.add([replace(ROW, checkpoint="def"), replace(ROW, protocol_hash="other")]) == 2


def test_files_of_something_else_and_other_databases_and_versions_are_refused(tmp_path):
    path = tmp_path / "all.sqlite"
    with pytest.raises(UserError, match="doesn't exist"):
        Store(path)
    for content in (b"protocol,task\n" * 400, b""):
        path.write_bytes(content)
        with pytest.raises(UserError, match="no result store"):
            Store(path)
        assert path.read_bytes() == content
    newer, other = store_with(tmp_path / "newer.sqlite", seeds(1)), tmp_path / "other.sqlite"
    for path, statement in ((newer, f"PRAGMA user_version = {VERSION + 1}"), (other, "CREATE TABLE episodes (x)")):
        with sqlite3.connect(path) as db:
            db.execute(statement)
        for create in (False, True):
            with pytest.raises(UserError, match="no result store of this version"):
                Store(path, create=create)


def test_damage_is_noticed_and_the_file_left_as_it_is(tmp_path):
    path = store_with(tmp_path / "all.sqlite", seeds(300))
    data = path.read_bytes()
    path.write_bytes(data[:-4096] + bytes(4096))
    with pytest.raises(UserError, match=r"is damaged.*put a copy in its place"):
        Store(path)
    assert path.read_bytes() == data[:-4096] + bytes(4096)


def test_several_writers_make_and_fill_one_store(tmp_path):
    path = tmp_path / "all.sqlite"

    def write(first):
        with Store(path, create=True) as store:
            for row in seeds(30, start=first):  # Half of the episodes are played by two of them.
                store.add([row])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(0, 90, 15)))
    assert sorted(row.seed for row in all_rows(path)) == list(range(105))


WRITER = f"""
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from stored_rows import ROW, Store
with Store(Path(sys.argv[1]), create=True) as store:
    for seed in range(1_000_000):
        store.add([replace(ROW, seed=seed)])
        print(seed, flush=True)
"""


def test_a_writer_that_is_killed_loses_at_most_the_row_in_flight(tmp_path):
    path = tmp_path / "all.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    told = [writer.stdout.readline() for _ in range(40)]
    os.kill(writer.pid, signal.SIGKILL)
    told += [line for line in writer.stdout.readlines() if line.endswith("\n")]
    writer.communicate()
    kept = [row.seed for row in all_rows(path)]
    assert kept == list(range(len(kept)))
    assert len(kept) in (len(told), len(told) + 1), "the kill may fall between storing a row and telling of it"
    with Store(path) as store:
        assert store.add([replace(ROW, seed=len(kept))])
