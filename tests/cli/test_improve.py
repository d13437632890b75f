"""``sfvgen-plan improve`` as a user meets it, in a simulator of one's own."""

import json

import numpy as np
import pytest

from sfvgen_plan import cli
from sfvgen_plan.benchmarks import rounds
from sfvgen_plan.benchmarks.running import collection
from sfvgen_plan.console import StageBars
from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.data.sources import FIRST_TRAINING_SEED
from sfvgen_plan.model.checkpoint import load_checkpoint

pytestmark = pytest.mark.usefixtures("toy")
TINY = ("train=tiny", "train.text_steps=2", "steps=2", "autoencoder_steps=1", "episodes=2")
START = ("--suite", "toy", "--agent", "prior", "--device", "cpu", "--max-decisions", "8", "--quiet", *TINY)


def improve(out, *options):
    return cli.main(["improve", "--out", str(out), *START, *options])


def of(out):
    """Rows and weights of a run."""
    files = [out / "improve.csv", *sorted(out.glob("*/checkpoint/*/*.safetensors"))]
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    """Two rounds from random play, in one go."""
    out = tmp_path_factory.mktemp("improve") / "whole"
    assert improve(out, "rounds=2") == 0
    return out


def test_from_random_play_every_round_has_a_row_and_learns_from_all_before(whole):
    lines = [line.split(",") for line in (whole / "improve.csv").read_text().splitlines()]
    assert lines[0] == ["suite", "round", "real_episodes", "real_decisions", "success_real", "success_imagined",
                        "reward_real", "reward_imagined"]  # fmt: skip
    assert [line[:3] for line in lines[1:]] == [["toy", "1", "4"], ["toy", "2", "8"]]
    assert all(0 <= float(share) <= 1 for line in lines[1:] for share in line[4:6])
    last = load_episodes(whole / "2" / "data")
    assert len(last) == 12 and last.tasks == ["toy/left", "toy/right"]
    assert sorted(last.kind) == ["own"] * 8 + ["random"] * 4
    assert len(set(zip(last.task, last.seed, strict=True))) == 12 and min(last.seed) >= FIRST_TRAINING_SEED
    played = load_episodes(whole / "1" / "played")
    solved = [played.success[s : s + n].any() for s, n in zip(played.action_start, played.lengths, strict=True)]
    assert float(lines[1][4]) == np.mean(solved)
    earned = [played.reward[s : s + n].mean() for s, n in zip(played.action_start, played.lengths, strict=True)]
    assert float(lines[1][6]) == pytest.approx(np.mean(earned))
    record = load_checkpoint(whole / "2" / "checkpoint").card.training
    assert record["started from"]["checkpoint"] == load_checkpoint(whole / "1" / "checkpoint").hash


def test_killed_in_play_and_in_training_it_ends_the_same(whole, tmp_path, monkeypatch):
    out = tmp_path / "out"

    play, update, jobs = collection.play, StageBars.update, []

    def interrupted(*given, **own):
        for played in play(*given, **own):
            yield played
            if played.row.seed % 2 == 1 and played.row.agent == "prior+noise=0.1":
                raise KeyboardInterrupt

    def stopped(bars, stage, *numbers):
        update(bars, stage, *numbers)
        if stage == "video":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(collection, "play", interrupted)
        assert improve(out, "rounds=1") == cli.INTERRUPTED
    kept = {file: file.stat().st_mtime_ns for file in (out / "1" / "played.partial").glob("*.npz")}
    assert kept and not (out / "1" / "played").exists() and not (out / "improve.csv").exists()
    monkeypatch.setattr(collection, "play", lambda *given, **own: jobs.extend(given[1]) or play(*given, **own))
    with monkeypatch.context() as patch:
        patch.setattr(StageBars, "update", stopped)
        assert improve(out, "rounds=1") == cli.INTERRUPTED
    assert len(jobs) == 4 - len(kept)
    assert (out / "1" / "checkpoint.partial").exists() and (out / "improve.csv").exists()
    monkeypatch.setattr(rounds.Rounds, "_score", lambda *_: pytest.fail("a finished part was done again"))
    assert improve(out, "rounds=1") == 0
    monkeypatch.undo()
    assert improve(out, "rounds=2") == 0  # rounds may be added
    assert of(out) == of(whole)


def test_from_demonstrations_and_from_a_checkpoint(whole, tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    collect = ["collect", "--suite", "toy", "--out", str(data), "--episodes", "6", "--workers", "1", "--quiet"]
    assert cli.main(collect) == 0
    assert improve(out, "--data", str(data), "rounds=1", "demonstrations=1") == 0
    first, then = load_episodes(out / "0" / "data"), load_episodes(out / "1" / "data")
    assert list(first.kind) == ["clean"] * 2 and sorted(then.kind) == ["clean"] * 2 + ["own"] * 4
    assert (out / "improve.csv").read_text().splitlines()[1].startswith("toy,1,2,24,")

    options = ("--checkpoint", str(whole / "2" / "checkpoint"), "rounds=1", "advice=true", "--label", "more")
    assert improve(tmp_path / "more", *options) == 0
    assert not (tmp_path / "more" / "0").exists() and len(load_episodes(tmp_path / "more" / "1" / "data")) == 4
    advised = load_episodes(tmp_path / "more" / "1" / "data")
    assert np.isfinite(advised.expert_actions).all() and not np.allclose(advised.expert_actions, advised.actions)
    assert np.isnan(load_episodes(whole / "1" / "played").expert_actions).all()
    assert (tmp_path / "more" / "improve.csv").read_text().splitlines()[1].startswith("more,1,0,0,")


def test_an_algorithm_learns_in_imagination_in_every_round(whole, tmp_path):
    few = ("imagine.decisions=16", "imagine.num_envs=2", "imagine.horizon=4", "algo.learning_starts=8")
    options = ("--algo", "sac", "--task", "toy/left", "--checkpoint", str(whole / "2" / "checkpoint"), "rounds=2", *few)
    command = ["improve", "--out", str(tmp_path / "out"), "--device", "cpu", "--quiet", *TINY, *options]
    assert cli.main(command) == 0
    first, second = (json.loads((tmp_path / "out" / n / "agent" / "train.json").read_text()) for n in "12")
    assert first["decisions"] == second["decisions"] == 16
    assert first["checkpoint"] != second["checkpoint"]
    assert first["settings"]["horizon"] == 4 and 1 <= second["settings"]["horizon"] <= 4  # no data, no trust
    rows = [line.split(",") for line in (tmp_path / "out" / "improve.csv").read_text().splitlines()[1:]]
    assert [row[:3] for row in rows] == [["toy/left", "1", "0"], ["toy/left", "2", "2"]]


def test_another_run_does_not_go_on_in_the_same_folder(whole, capsys):
    assert improve(whole, "noise=0.5") == 2
    assert "holds a run with noise=0.1, agent" in capsys.readouterr().err
    assert json.loads((whole / "improve.json").read_text())["noise"] == 0.1
