"""Checkpoints in the repository's own folder, which is not part of the package."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.envs.family import family_of
from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.model.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parents[2] / "checkpoints"
FOLDERS = sorted(file.parent for file in ROOT.glob("*/checkpoint.json"))
LARGEST = 40_000_000


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_it_is_small_carries_its_licence_and_imagines(folder: Path) -> None:
    files = [file for file in folder.rglob("*") if file.is_file() and "training" not in file.parts]
    assert sum(file.stat().st_size for file in files) <= LARGEST
    checkpoint = load_checkpoint(folder)
    source = family_of(checkpoint.tasks[0]).source
    assert source.licence in (folder / "README.md").read_text()
    assert checkpoint.card.readouts == list(source.readouts)
    assert checkpoint.pipeline.heads.config.reward_scale == source.reward_scale
    env = ImaginedEnv(checkpoint.tasks[0], checkpoint, sampler_steps=1)
    env.reset(seed=0)
    frame, *_ = env.step(np.zeros(checkpoint.card.action_dim, np.float32))
    assert frame.std() > 5


def test_the_committed_rows_are_theirs() -> None:
    results = ROOT.parent / "benchmarks" / "rows"
    with (results / "avdc11-v3.csv").open(newline="") as file:
        assert {row["checkpoint"] for row in csv.DictReader(file)} == {load_checkpoint(ROOT / "avdc11").hash}
    for name in ("memory_revisit", "memory_return"):
        made = json.loads((results / f"{name}.json").read_text())
        assert made["full"]["checkpoint"] == load_checkpoint(ROOT / "memory").hash


@pytest.mark.skipif(not (ROOT / "rlbench").is_dir(), reason="checkpoints/rlbench is not there")
def test_rlbenchs_has_all_tasks_with_recorded_episodes() -> None:
    tasks = load_checkpoint(ROOT / "rlbench").tasks
    assert set(tasks) == set(load_protocol("rlbench-data").tasks)
