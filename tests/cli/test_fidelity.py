"""``sfvgen-plan fidelity`` as a user meets it, and the playing behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfvgen_plan import cli
from sfvgen_plan.benchmarks.fidelity.compare import imagine, replay
from sfvgen_plan.benchmarks.fidelity.policies import standard_policies
from sfvgen_plan.benchmarks.fidelity.rows import FidelityRow, Moment, read_rows
from sfvgen_plan.benchmarks.running.episodes import Job, Recording

PLANNER = (
    "agent.candidates=3",
    "agent.elites=2",
    "agent.iterations=1",
    "agent.horizon=2",
    "agent.knots=2",
    "noise=0.1",
)
NAMED = "cem+horizon=2+candidates=3+iterations=1+knots=2+elites=2+noise=0.1"


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


def test_a_run_has_rows_summary_and_pictures_and_is_gone_on_with(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = ("--task", "reach-v3")
    short = ("--episodes", "2", "--max-decisions", "2", "sampler_steps=1", "--block", "2", "--out", "run", "--json")
    options = (*tasks, *short, "--agent", "readout", "--agent", "random", "--probes", "flip")
    # Agents of other settings go into the same folder, and into its report.
    assert fidelity(tiny_checkpoint, *tasks, *short, "--agent", "prior", "noise=0.5", "random=0.2") == 0
    assert fidelity(tiny_checkpoint, *tasks, *short, "--agent", "cem", *PLANNER) == 0
    capsys.readouterr()
    assert fidelity(tiny_checkpoint, *options) == 0
    whole = json.loads(capsys.readouterr().out)
    names = ["prior+noise=0.5+random=0.2", NAMED, "readout", "random"]
    assert [item["policy"] for item in whole["policies"]] == names
    assert [item["kind"] for item in whole["policies"]] == ["policy", "planner", "policy", "policy"]
    assert (whole["episodes_per_policy"], whole["finished"], whole["errors"]) == (2, True, 0)
    assert {path.name for path in Path("run").iterdir()} == {
        "run.json", "fidelity.csv", "moments.csv", "fidelity.json", "fidelity.md", "scatter.svg", "drift.svg",
    }  # fmt: skip
    rows = read_rows(Path("run/fidelity.csv"), FidelityRow)
    moments = read_rows(Path("run/moments.csv"), Moment)
    assert len(rows) == 2 * (len(names) + 1)
    assert len(moments) == sum(row.real_decisions for row in rows)
    assert {moment.decision for moment in moments} <= {1, 2}

    # As after a kill: the last rows never made it to the disk.
    lines = Path("run/fidelity.csv").read_text().splitlines(keepends=True)
    Path("run/fidelity.csv").write_text("".join(lines[:-3]) + lines[-3][:20])
    assert fidelity(tiny_checkpoint, *options) == 0
    again = json.loads(capsys.readouterr().out)
    assert {row.key: row for row in read_rows(Path("run/fidelity.csv"), FidelityRow)}.keys() == {r.key for r in rows}
    for name in ("policies", "agreement", "episodes_per_policy"):
        assert again[name] == whole[name]
    assert fidelity(tiny_checkpoint, *tasks, *short, "threshold=0.9", "--agent", "random") == 2
    assert "threshold=0.5, not 0.9" in capsys.readouterr().err


def test_policies_of_stable_baselines_play_in_both_simulators(
    tiny_checkpoint: Path, loaded: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    from sfvgen_plan.envs.imagined import ImaginedEnv

    env = ImaginedEnv("reach-v3", loaded, obs_mode="state")
    sb3.PPO("MlpPolicy", env, n_steps=2, batch_size=2, device="cpu").save("agent.zip")
    short = (
        "--task",
        "reach-v3",
        "--episodes",
        "1",
        "--max-decisions",
        "2",
        "sampler_steps=1",
        "--out",
        "run",
        "--json",
    )
    assert fidelity(tiny_checkpoint, *short, "--agent", "sb3:agent.zip", "noise=0.5") == 0
    capsys.readouterr()
    assert fidelity(tiny_checkpoint, *short, "--agent", "random", "--agent", "sb3:agent.zip") == 0
    found = json.loads(capsys.readouterr().out)
    names = ["sb3:agent.zip+noise=0.5", "random", "sb3:agent.zip"]
    assert [(item["policy"], item["kind"]) for item in found["policies"]] == [(name, "policy") for name in names]
    assert (found["episodes_per_policy"], found["errors"]) == (1, 0)


def test_bad_input_is_one_line(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, named in (
        (("--agent", "expert"), "readout"),
        (("--agent", "priro"), "prior"),
        (("--agent", "prior", "agent.candidates=3"), "names no setting"),
        (("--agent", "prior", "noise=loud"), "noise takes a number"),
        (("--agent", "prior", "noise=-1"), "noise=-1.0"),
        (("--agent", "prior", "random=2"), "random=2.0"),
        (("--agent", "prior", "--agent", "prior"), "twice"),
        (("noise=1",), "need an agent"),
        (("--probes", "flop"), "flip"),
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


def recordings(lengths: tuple[int, ...], checkpoint: Any) -> list[Recording]:
    found = []
    for seed, length in enumerate(lengths):
        generator = np.random.default_rng(seed)
        frames = generator.integers(0, 256, (length + 1, checkpoint.size, checkpoint.size, 3), dtype=np.uint8)
        actions = generator.uniform(-1, 1, (length, 4)).astype(np.float32)
        task = checkpoint.tasks[seed % len(checkpoint.tasks)]
        found.append(Recording(Job(task, seed), frames, np.zeros(length + 1, bool), actions))
    return found


@pytest.fixture
def loaded(tiny_checkpoint: Path) -> Any:
    from sfvgen_plan.model.checkpoint import load_checkpoint

    return load_checkpoint(tiny_checkpoint)


def test_replays_do_not_depend_on_who_shares_the_batch(loaded: Any) -> None:
    simulator = loaded.simulator(1, exact=True)
    episodes = recordings((1, 3, 2, 3), loaded)
    for item, together in zip(episodes, replay(episodes, simulator, 0.5), strict=True):
        (alone,) = replay([item], simulator, 0.5)
        assert len(together.estimates) == len(item.actions)
        for name in ("estimates", "repeated", "readouts", "psnr", "copied"):
            np.testing.assert_allclose(getattr(together, name), getattr(alone, name), atol=1e-3)
        assert (together.first, together.judged) == (alone.first, alone.judged)
        assert np.abs(together.estimates - together.repeated).max() > 0  # other noise


def test_imagined_episodes_end_with_success_and_leave_the_others_alone(loaded: Any) -> None:
    from sfvgen_plan.agents.players.random import RandomAgent

    simulator = loaded.simulator(1, exact=True)
    episodes = recordings((1, 1, 1, 1), loaded)
    peaks = [found.peak for found in imagine(RandomAgent(4), episodes, simulator, 4, 1.0)]
    threshold = float(np.median(peaks))
    together = imagine(RandomAgent(4), episodes, simulator, 4, threshold)
    assert {found.first is None for found in together} == {True, False}
    for item, found in zip(episodes, together, strict=True):
        (alone,) = imagine(RandomAgent(4), [item], simulator, 4, threshold)
        assert (found.first, found.decisions) == (alone.first, alone.decisions)
        assert found.decisions == (found.first or 4)
        assert found.reward == pytest.approx(alone.reward, abs=1e-3)
