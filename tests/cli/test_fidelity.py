"""``sfvgen-plan fidelity`` as a user meets it, and the playing behind it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sfvgen_plan import cli
from sfvgen_plan.benchmarks.fidelity.compare import imagine
from sfvgen_plan.benchmarks.fidelity.policies import standard_policies
from sfvgen_plan.benchmarks.fidelity.rows import rows_in
from sfvgen_plan.benchmarks.running.episodes import Job, Recording

PLANNER = (
    "agent.candidates=3",
    "agent.elites=2",
    "agent.iterations=1",
    "agent.horizon=2",
    "noise=0.1",
)
NAMED = "cem+horizon=2+candidates=3+iterations=1+elites=2+noise=0.1"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fidelity(checkpoint: Path, *options: str) -> int:
    return cli.main(["fidelity", "--checkpoint", str(checkpoint), "--device", "cpu", *options])


def refusal(capsys: pytest.CaptureFixture[str], checkpoint: Path, *options: str) -> str:
    """The one line that bad input gives."""
    assert fidelity(checkpoint, *options) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == ""
    assert not Path("runs").exists()
    return line


def test_a_run_has_rows_a_page_and_a_picture_and_is_gone_on_with(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = ("--task", "reach-v3")
    short = ("--episodes", "2", "--max-decisions", "2", "--out", "run", "--json")
    options = (*tasks, *short, "--agent", "prior10", "--agent", "random")
    # Agents of other settings go into the same folder, and into its report.
    assert fidelity(tiny_checkpoint, *tasks, *short, "--agent", "prior", "noise=0.5", "random=0.2") == 0
    assert fidelity(tiny_checkpoint, *tasks, *short, "--agent", "cem", *PLANNER) == 0
    capsys.readouterr()
    assert fidelity(tiny_checkpoint, *options) == 0
    whole = json.loads(capsys.readouterr().out)
    names = ["prior+noise=0.5+random=0.2", NAMED, "prior10", "random"]
    assert [item["policy"] for item in whole["policies"]] == names
    assert [item["kind"] for item in whole["policies"]] == ["policy", "planner", "policy", "policy"]
    assert (whole["episodes_per_policy"], whole["errors"]) == (2, 0)
    assert {path.name for path in Path("run").iterdir()} == {
        "fidelity.json",
        "fidelity.csv",
        "fidelity.md",
        "scatter.svg",
    }
    rows = list(rows_in(Path("run")))
    assert len(rows) == 2 * len(names)
    assert {row.real_decisions for row in rows} | {row.imagined_decisions for row in rows} <= {1, 2}

    # As after a kill: the last rows never made it to the disk.
    lines = Path("run/fidelity.csv").read_text().splitlines(keepends=True)
    Path("run/fidelity.csv").write_text("".join(lines[:-3]))
    assert fidelity(tiny_checkpoint, *options) == 0
    again = json.loads(capsys.readouterr().out)
    for name in ("policies", "agreement", "episodes_per_policy"):
        assert again[name] == whole[name]
    assert fidelity(tiny_checkpoint, *tasks, *short, "threshold=0.9", "--agent", "random") == 2
    assert "threshold=0.5, not threshold=0.9" in capsys.readouterr().err


def test_bad_input_is_one_line(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, named in (
        (("--agent", "expert"), "acts on the true state"),
        (("--agent", "priro"), "prior"),
        (("--agent", "prior", "agent.candidates=3"), "names no setting"),
        (("--agent", "prior", "noise=loud"), "noise takes a number"),
        (("--agent", "prior", "noise=-1"), "noise=-1.0"),
        (("--agent", "prior", "random=2"), "random=2.0"),
        (("--agent", "prior", "--agent", "prior"), "twice"),
        (("noise=1",), "need an agent"),
        (("threshold=1",), "threshold=1.0"),
        (("--task", "assembly-v3"), "not covered by checkpoint"),
        (("--seed", "99999", "--episodes", "2"), "training data"),
    ):
        given = options if "--task" in options else ("--task", "reach-v3", *options)
        assert named in refusal(capsys, tiny_checkpoint, *given), options


def test_the_standard_policies_are_of_different_kinds_and_names() -> None:
    names = [policy.name for policy in standard_policies()]
    assert len(set(names)) == 11
    assert {"prior+noise=0.5", "prior+random=0.5", "cem+candidates=16+elites=4"} <= set(names)


def test_imagined_episodes_end_with_success_and_leave_the_others_alone(tiny_checkpoint: Path) -> None:
    from sfvgen_plan.agents.players.random import RandomAgent
    from sfvgen_plan.model.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(tiny_checkpoint)
    simulator = checkpoint.simulator(exact=True)
    episodes = []
    for seed in range(4):
        frames = np.random.default_rng(seed).integers(0, 256, (1, checkpoint.size, checkpoint.size, 3), dtype=np.uint8)
        job = Job(checkpoint.tasks[seed % len(checkpoint.tasks)], seed)
        episodes.append(Recording(job, frames, np.zeros(1, bool), np.zeros((0, 4), np.float32)))
    peaks = [found["imagined_peak"] for found in imagine(RandomAgent(4), episodes, simulator, 4, 1.0)]
    threshold = float(np.median(peaks))
    together = imagine(RandomAgent(4), episodes, simulator, 4, threshold)
    assert {found["imagined_success"] for found in together} == {True, False}
    assert all(found["imagined_success"] or found["imagined_decisions"] == 4 for found in together)
    for item, found in zip(episodes, together, strict=True):
        (alone,) = imagine(RandomAgent(4), [item], simulator, 4, threshold)
        assert found == pytest.approx(alone, abs=1e-3)
