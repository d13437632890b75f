"""The result store: nothing lost, nothing doubled, whatever happens to the process or to the file."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sfvgen_plan.benchmarks.exchange import bring_in, export, main, read_source
from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.recovery import recover
from sfvgen_plan.benchmarks.results import EpisodeKey, EpisodeRow, read_rows, write_rows
from sfvgen_plan.benchmarks.store import SCHEMA_VERSION, Run, Store
from sfvgen_plan.benchmarks.wal import torn
from sfvgen_plan.errors import UserError

ROW = EpisodeRow(
    protocol="metaworld-10",
    task="reach-v3",
    agent="default",
    seed=3,
    success_any=True,
    success_final=False,
    return_=101.123456789,
    decisions=17,
    plan_seconds=0.1 + 0.2,
    denoiser_calls=51,
    imagined_decisions=4096,
    first_success=12,
    checkpoint="abc",
    device="cpu",
    protocol_hash="0123456789ab",
    run="r1",
)
BROKEN = dataclasses.replace(ROW, success_any=False, first_success=None, error="Boom: no")

WRITER = f"""
import dataclasses, sys
from pathlib import Path
from sfvgen_plan.benchmarks.store import Store
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_store import ROW
with Store(Path(sys.argv[1]), create=True) as store:
    for seed in range(int(sys.argv[2]), int(sys.argv[3])):
        store.append(dataclasses.replace(ROW, seed=seed, run=f"run of {{seed}}"))
        print(seed, flush=True)
"""


def seeds(count: int, start: int = 0) -> list[EpisodeRow]:
    return [dataclasses.replace(ROW, seed=seed) for seed in range(start, start + count)]


def store_with(path: Path, rows: list[EpisodeRow]) -> Path:
    with Store(path, create=True) as store:
        store.extend(rows)
    return path


def all_rows(path: Path) -> list[EpisodeRow]:
    with Store(path, writable=False) as store:
        return store.rows()


def start_writer(path: Path, first: int, end: int, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(first), str(end)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]


def test_a_row_comes_back_as_it_was(tmp_path: Path) -> None:
    path = store_with(tmp_path / "new" / "all.sqlite", [ROW, dataclasses.replace(BROKEN, seed=4)])
    assert all_rows(path) == [ROW, dataclasses.replace(BROKEN, seed=4)]


def test_a_row_is_there_for_others_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    with Store(tmp_path / "all.sqlite", create=True) as store:
        for row in seeds(3):
            assert store.append(row)
            assert all_rows(store.path)[-1] == row


def test_an_episode_counts_once(tmp_path: Path) -> None:
    with Store(tmp_path / "all.sqlite", create=True) as store:
        assert store.append(ROW)
        assert not store.append(dataclasses.replace(ROW, run="r2", return_=5.0))
        assert store.rows() == [ROW]
        assert store.append(dataclasses.replace(ROW, checkpoint="def"))
        assert store.append(dataclasses.replace(ROW, protocol_hash="other"))
        assert store.count() == 3


def test_an_episode_that_broke_off_may_be_played_again_and_its_error_stays(tmp_path: Path) -> None:
    again = dataclasses.replace(BROKEN, error="Bang: still no", run="r2")
    with Store(tmp_path / "all.sqlite", create=True) as store:
        store.append(BROKEN)
        assert store.rows() == [BROKEN]
        store.append(again)
        assert store.rows() == [again]
        assert store.done(EpisodeKey("metaworld-10", "", "default", 0, "abc"), "0123456789ab") == set()
        store.append(ROW)
        assert store.rows() == [ROW]
        assert store.attempts() == [BROKEN, again, ROW]
        assert store.done(EpisodeKey("metaworld-10", "", "default", 0, "abc"), "0123456789ab") == {("reach-v3", 3)}


@pytest.mark.parametrize("change", [{"return_": float("nan")}, {"plan_seconds": float("inf")}, {"decisions": -1}])
def test_rows_that_make_no_sense_are_refused_and_nothing_of_the_batch_is_kept(
    change: dict[str, float], tmp_path: Path
) -> None:
    with Store(tmp_path / "all.sqlite", create=True) as store:
        with pytest.raises(UserError, match="makes no sense"):
            store.extend([*seeds(2), dataclasses.replace(ROW, **change)])  # type: ignore[arg-type]
        assert store.count() == 0
        assert store.append(ROW)


def test_runs_are_kept_with_their_record(tmp_path: Path) -> None:
    run = Run.new("default", "metaworld-10", "abc", {"settings": {"futures": 4}, "git_commit": None})
    with Store(tmp_path / "all.sqlite", create=True) as store:
        store.extend([dataclasses.replace(ROW, run=run.id)], [run])
        store.extend([], [run])
        assert store.runs() == [run]


def test_every_row_a_killed_writer_had_stored_is_there(tmp_path: Path) -> None:
    path, generator, acknowledged = tmp_path / "all.sqlite", random.Random(0), -1
    for _ in range(12):
        writer = start_writer(path, acknowledged + 1, 1_000_000, start_new_session=True)
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(generator.uniform(0, 0.05))
        os.kill(writer.pid, signal.SIGKILL)
        output = [first, *writer.stdout.readlines()]
        writer.communicate()
        acknowledged = max(acknowledged, *(int(line) for line in output if line.endswith("\n")))
        kept = [row.seed for row in all_rows(path)]
        # The kill may fall between storing a row and telling of it.
        assert kept == list(range(len(kept)))
        assert len(kept) in (acknowledged + 1, acknowledged + 2)
        acknowledged = kept[-1]


def test_a_store_whose_making_is_killed_is_complete_or_not_there(tmp_path: Path) -> None:
    generator = random.Random(1)
    for number in range(10):
        path = tmp_path / f"{number}.sqlite"
        writer = start_writer(path, 0, 1_000_000)
        time.sleep(generator.uniform(0.1, 0.35))
        writer.kill()
        writer.communicate()
        with Store(path, create=True) as store:
            count = store.count()
            assert store.append(dataclasses.replace(ROW, seed=count))


def test_two_processes_write_one_store(tmp_path: Path) -> None:
    path = tmp_path / "all.sqlite"
    writers = [start_writer(path, first, first + 150) for first in (0, 100)]  # Fifty episodes are played by both.
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors
    rows = all_rows(path)
    assert sorted(row.seed for row in rows) == list(range(250))
    with Store(path) as store:
        assert store.count() == 250


def limit_file_size() -> None:
    """Writes beyond this size fail in the kernel, as on a disk that is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))


def test_a_full_disk_is_an_error_that_keeps_all_rows(tmp_path: Path) -> None:
    path = tmp_path / "all.sqlite"
    writer = start_writer(path, 0, 1_000_000, preexec_fn=limit_file_size)
    output, errors = writer.communicate(timeout=120)
    assert writer.returncode == 1
    assert "UserError: store=" in errors.splitlines()[-1]
    assert "its rows are kept" in errors
    acknowledged = [int(line) for line in output.splitlines()]
    assert len(acknowledged) > 5
    assert [row.seed for row in all_rows(path)] == acknowledged
    with Store(path) as store:  # There is room again.
        assert store.append(dataclasses.replace(ROW, seed=len(acknowledged)))


def spoil(path: Path, page: int, how: str) -> None:
    data = bytearray(path.read_bytes())
    size = 4096
    start = page * size if page >= 0 else len(data) + page * size
    if how == "truncated":
        del data[start + 100 :]
    elif how == "zeroed":
        data[start : start + size] = bytes(size)
    elif how == "noise":
        data[start : start + size] = random.Random(0).randbytes(size)
    else:  # One bit of a row's content.
        place = data.rfind(b"reach-v3", 0, start + size)
        data[place] ^= 1
    path.write_bytes(data)


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


def test_rows_lost_with_the_end_of_the_log_are_not_lost_silently(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "all.sqlite"
    writer = start_writer(path, 0, 1_000_000)
    assert writer.stdout is not None
    while int(writer.stdout.readline()) < 20:
        pass
    writer.kill()
    writer.communicate()
    log = path.with_name("all.sqlite-wal")
    kept = path.with_name("copy.sqlite")
    shutil.copy(path, kept)
    whole = torn(path)  # A kill may have struck in the middle of a write.
    shutil.copy(log, kept.with_name("copy.sqlite-wal"))
    spoil(log, -1, "noise")
    with Store(path) as store:
        assert "may be missing" in caplog.text
        assert 0 < store.count() < len(all_rows(kept)) + whole
    caplog.clear()
    with Store(path):  # Folded into the file: there is nothing more to say.
        assert caplog.text == ""


def test_a_log_that_is_being_written_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "all.sqlite"
    with Store(path, create=True) as store:
        for row in seeds(30):
            store.append(row)
            assert not torn(path)
        assert path.with_name("all.sqlite-wal").stat().st_size > 30 * 4096


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


def test_a_store_in_use_is_not_recovered(tmp_path: Path) -> None:
    path = store_with(tmp_path / "all.sqlite", seeds(3))
    with Store(path), pytest.raises(UserError, match="in use by another process"):
        recover(path)
    assert all_rows(path) == seeds(3)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"protocol,task\n" * 400, "no result store"),
        (b"", "something else"),
        (None, "doesn't exist"),
    ],
)
def test_files_of_something_else_are_refused(content: bytes | None, named: str, tmp_path: Path) -> None:
    path = tmp_path / "all.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=named):
        Store(path)
    assert content is None or path.read_bytes() == content


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = store_with(tmp_path / "all.sqlite", seeds(1))
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(UserError, match=f"schema {SCHEMA_VERSION + 1}, newer than {SCHEMA_VERSION}"):
        Store(path)
    assert path.read_bytes() == before


def test_a_store_may_be_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    path = store_with(tmp_path / "all.sqlite", seeds(2))
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        assert all_rows(path) == seeds(2)
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_what_is_exported_can_be_brought_in(suffix: str, tmp_path: Path) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    rows = [dataclasses.replace(row, return_=0.5, plan_seconds=0.25) for row in seeds(3)]
    rows.append(dataclasses.replace(BROKEN, seed=9, return_=0.5, plan_seconds=0.25))
    run = Run.new("default", "metaworld-10", "abc", {"settings": {}, "protocol": "metaworld-10", "agent": "default"})
    with Store(tmp_path / "a.sqlite", create=True) as store:
        store.extend(rows, [run])
        assert export(store, tmp_path / f"rows{suffix}") == 4
    with Store(tmp_path / "b.sqlite", create=True) as store:
        result = bring_in(store, [tmp_path / f"rows{suffix}"])
        assert (result.added, result.known) == (4, 0)
        assert store.rows() == rows
        assert [found.id for found in store.runs()] == ([run.id] if suffix == ".json" else [])


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "a.sqlite", create=True) as store, pytest.raises(UserError, match=r"\.csv, \.json"):
        export(store, tmp_path / "rows.xlsx")


def test_stores_merge_without_doubling_and_say_what_differs(tmp_path: Path) -> None:
    first = store_with(tmp_path / "a.sqlite", [*seeds(3), dataclasses.replace(BROKEN, seed=9)])
    other = [dataclasses.replace(row, run="elsewhere") for row in seeds(3, start=2)]
    second = store_with(tmp_path / "b.sqlite", [dataclasses.replace(other[0], decisions=99), *other[1:]])
    with Store(tmp_path / "all.sqlite", create=True) as store:
        assert dataclasses.astuple(bring_in(store, [first, second])) == (6, 1, 1)
        assert dataclasses.astuple(bring_in(store, [first, second])) == (0, 7, 1)
        assert [row.seed for row in store.rows()] == [0, 1, 2, 9, 3, 4]
        assert store.rows()[2] == seeds(3)[2]


def test_committed_rows_can_be_brought_in_and_get_the_hash_of_their_protocol(tmp_path: Path) -> None:
    committed = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "metaworld-10.csv"
    with Store(tmp_path / "all.sqlite", create=True) as store:
        result = bring_in(store, [committed])
        assert result.added == len(read_rows(committed)) > 0
        assert {row.protocol_hash for row in store.rows()} == {load_protocol("metaworld-10").rules_hash}


def test_a_source_with_a_bad_row_adds_nothing(tmp_path: Path) -> None:
    write_rows(tmp_path / "bad.csv", [ROW, dataclasses.replace(ROW, seed=4, return_=float("nan"))])
    with Store(tmp_path / "all.sqlite", create=True) as store:
        with pytest.raises(UserError, match="line 3"):
            bring_in(store, [tmp_path / "bad.csv"])
        assert store.count() == 0


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, into = store_with(tmp_path / "run" / "results.sqlite", seeds(40)), tmp_path / "all.sqlite"
    assert main(["merge", str(run.parent), "--into", str(into)]) == 0
    assert "40 rows, 40 of them new" in capsys.readouterr().out
    assert main(["merge", str(run), "--into", str(tmp_path / "metaworld-10.csv")]) == 0
    assert len(read_rows(tmp_path / "metaworld-10.csv")) == len(read_source(run)) == 40
    assert main(["export", str(into), str(tmp_path / "rows.json")]) == 0
    assert main(["check", str(into)]) == 0
    spoil(into, -1, "zeroed")
    assert main(["check", str(into)]) == 2
    assert "damaged" in capsys.readouterr().err
    assert main(["recover", str(into)]) == 0
    assert "rows saved" in capsys.readouterr().out
    assert main(["check", str(into)]) == 0


@pytest.mark.slow
def test_an_evaluation_that_is_killed_again_and_again_ends_with_the_same_table() -> None:
    command = [sys.executable, "-m", "sfvgen_plan.benchmarks.kills", "--kills", "20", "--episodes", "4"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["disturbances"] == 20
    assert result["tables_that_differ"] == 0
