"""Rows, and stores that hold them, for the tests of everything that is made of rows."""

from dataclasses import replace
from pathlib import Path

from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.results.row import EpisodeRow
from sfvgen_plan.benchmarks.results.store import Store

COMMITTED = Path(__file__).resolve().parents[2] / "benchmarks" / "rows"
PROTOCOL = load_protocol("metaworld-10")

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
BROKEN = replace(ROW, success_any=False, first_success=None, error="Boom: no")


def seeds(count, start=0):
    return [replace(ROW, seed=seed) for seed in range(start, start + count)]


def rows_of(agent, solved, tasks=PROTOCOL.tasks, **changes):
    """Ten episodes a task, of which the first ``solved`` succeed, at decision 10, 11 and so on."""
    failed = dict(
        protocol=PROTOCOL.id, agent=agent, success_any=False, success_final=False, return_=40.0, decisions=100,
        plan_seconds=0.5, denoiser_calls=1200, imagined_decisions=82_000, checkpoint="abc", device="a GPU",
        protocol_hash=PROTOCOL.rules_hash,
    )  # fmt: skip
    rows = []
    for task in tasks:
        for seed in range(10):
            won = dict(success_any=True, success_final=seed % 2 == 0, first_success=10 + seed, decisions=15 + seed)
            rows.append(EpisodeRow(**failed | (won if seed < solved else {}) | changes, task=task, seed=seed))
    return rows


def store_with(path, rows):
    with Store(path, create=True) as store:
        store.add(rows)
    return path


def all_rows(path):
    with Store(path, writable=False) as store:
        return store.rows()
