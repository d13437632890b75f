"""Rows, stores that hold them, and ways to spoil such a file, for the tests of the result store."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

from sfvgen_plan.benchmarks.results import EpisodeRow
from sfvgen_plan.benchmarks.results.store import Store

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


def seeds(count: int, start: int = 0) -> list[EpisodeRow]:
    return [dataclasses.replace(ROW, seed=seed) for seed in range(start, start + count)]


def store_with(path: Path, rows: list[EpisodeRow]) -> Path:
    with Store(path, create=True) as store:
        store.extend(rows)
    return path


def all_rows(path: Path) -> list[EpisodeRow]:
    with Store(path, writable=False) as store:
        return store.rows()


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
