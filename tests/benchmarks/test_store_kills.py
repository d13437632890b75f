"""The result store and its writers: whatever kills them, nothing that was stored is lost."""

from __future__ import annotations

import dataclasses
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from stored_rows import ROW, all_rows

from sfvgen_plan.benchmarks.results.store import Store

WRITER = f"""
import dataclasses, sys
from pathlib import Path
from sfvgen_plan.benchmarks.results.store import Store
sys.path.insert(0, {str(Path(__file__).parent)!r})
from stored_rows import ROW
with Store(Path(sys.argv[1]), create=True) as store:
    for seed in range(int(sys.argv[2]), int(sys.argv[3])):
        store.append(dataclasses.replace(ROW, seed=seed, run=f"run of {{seed}}"))
        print(seed, flush=True)
"""


def start_writer(path: Path, first: int, end: int, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(first), str(end)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]


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
