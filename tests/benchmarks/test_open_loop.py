"""Open-loop rollouts: which episodes, what is compared with what, and the rows."""

import csv
import json

import numpy as np
import pytest
import torch
from recordings import write_recording

from sfvgen_plan.benchmarks.fidelity.open_loop import (
    COLUMNS,
    MEASURES,
    choose,
    held_out_data,
    lines,
    main,
    measure,
    roll_out,
    summarise,
)
from sfvgen_plan.benchmarks.report.readme import open_loop_section
from sfvgen_plan.data.episodes import EpisodeArrays, load_episodes
from sfvgen_plan.data.rlbench import convert
from sfvgen_plan.data.rlbench_state import SOURCE
from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics import MAX_PSNR, psnr
from sfvgen_plan.model.checkpoint import load_checkpoint
from sfvgen_plan.simulation import Outcome


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, write_small_dataset):
    """21 episodes per task: one of each is held out."""
    return write_small_dataset(tmp_path_factory.mktemp("data") / "set", 21, 7)


@pytest.fixture(scope="module")
def episodes(dataset):
    return load_episodes(dataset)


@pytest.fixture(scope="module")
def simulator(small_checkpoint):
    return load_checkpoint(small_checkpoint).simulator(sampler_steps=1, exact=True)


class Omniscient:
    """A simulator that knows the episodes it is asked about: what it imagines is the truth, but ``offset`` is added."""

    device = torch.device("cpu")

    def __init__(self, real, offset=0.0):
        self.real, self.offset, self.asked = real, offset, []

    def begin(self, frames, tasks, seeds):
        assert (frames[:, 0] == self.real.frames[:, 0]).all()
        return 0

    def imagine(self, state, actions):
        count = actions.shape[1]
        self.asked.append(count)
        assert (actions.numpy() == self.real.actions[:, state : state + count]).all()
        frames = slice(state + 1, state + count + 1)
        estimates = torch.as_tensor(self.real.estimates[:, frames]).clone()
        estimates[..., 4] += self.offset
        estimates[..., 1] -= 2 * self.offset
        none = estimates[..., 0]
        return state + count, Outcome(none, none, none, estimates, torch.as_tensor(self.real.frames[:, frames]))

    def decode(self, latents):
        return latents.numpy()


def test_held_out_episodes_from_their_start(episodes):
    real = choose(episodes, decisions=5)
    assert real.tasks.tolist() == ["reach-v3", "push-v3"]
    assert real.seeds.tolist() == [100_019, 100_019]
    for place, number in enumerate((19, 40)):
        start, action_start = episodes.episode_start[number], episodes.action_start[number]
        assert (real.frames[place] == episodes.frames[start : start + 6]).all()
        assert (real.estimates[place] == episodes.estimates[start : start + 6]).all()
        assert (real.actions[place] == episodes.actions[action_start : action_start + 5]).all()


def test_all_episodes_and_some_of_each_task(episodes):
    assert len(choose(episodes, 7, held_out_only=False)) == 42
    assert choose(episodes, 7, per_task=2, held_out_only=False).tasks.tolist() == ["reach-v3"] * 2 + ["push-v3"] * 2


def test_too_short_episodes(episodes):
    with pytest.raises(UserError, match="decisions=8: the data has no held-out episode"):
        choose(episodes, 8)


@pytest.mark.parametrize(("f_g", "passes"), [(1, [1] * 7), (4, [4, 3]), (8, [7])])
def test_a_perfect_simulator_scores_perfectly(episodes, f_g, passes):
    real = choose(episodes, 7)
    perfect = Omniscient(real)
    values = roll_out(perfect, real, f_g)
    assert perfect.asked == passes
    assert all(value.shape == (2, 7) for value in values.values())
    assert (values["psnr_db"] == MAX_PSNR).all()
    assert not values["object_error_cm"].any()
    assert not values["hand_error_cm"].any()
    assert values["copy_psnr_db"][0, 3] == pytest.approx(psnr(real.frames[0, 0], real.frames[0, 4]))


def test_errors_are_distances_in_centimetres(episodes):
    real = choose(episodes, 7)
    values = roll_out(Omniscient(real, offset=0.03), real, 4)
    np.testing.assert_allclose(values["object_error_cm"], 3.0, rtol=1e-4)
    np.testing.assert_allclose(values["hand_error_cm"], 6.0, rtol=1e-4)


def test_rows_are_means_over_a_tasks_episodes_and_do_not_depend_on_the_batch(episodes, simulator):
    real = choose(episodes, 5, per_task=2, held_out_only=False)
    together, apart = (measure(simulator, real, [1, 4], batch) for batch in (4, 1))
    assert [(row["task"], row["f_g"], row["decision"]) for row in together] == [
        (task, f_g, decision) for f_g in (1, 4) for task in ("reach-v3", "push-v3") for decision in range(1, 6)
    ]
    for one, other in zip(together, apart, strict=True):
        for name in MEASURES:
            assert one[name] == pytest.approx(other[name], abs=0.02)
    values = roll_out(simulator, real, 4)
    assert together[10]["object_error_cm"] == pytest.approx(values["object_error_cm"][:2, 0].mean(), abs=1e-2)


def test_the_summary_is_of_the_last_decision():
    good = dict(zip(MEASURES, (30.0, 20.0, 1.0, 0.5, "", "", ""), strict=True))
    bad = dict(zip(MEASURES, (20.0, 20.0, 9.0, 0.5, "", "", ""), strict=True))
    rows = [
        {"task": "a", "f_g": 1, "decision": 1, **bad},
        {"task": "a", "f_g": 1, "decision": 2, **good},
        {"task": "a", "f_g": 8, "decision": 1, **good},
        {"task": "a", "f_g": 8, "decision": 2, **bad},
    ]
    assert [(line["f_g"], line["decision"], line["psnr_db"]) for line in summarise(rows)] == [
        (1, 2, 30.0),
        (8, 2, 20.0),
    ]


@pytest.fixture
def recorded():
    """Three RLBench episodes of 2, 4 and 6 decisions, the first two solved at their ends."""
    lengths = np.array([2, 4, 6])
    random = np.random.default_rng(0)
    starts = np.cumsum(lengths) - lengths
    return EpisodeArrays(
        frames=random.integers(0, 256, (15, 8, 8, 3), np.uint8),
        episode_start=starts + np.arange(3),
        action_start=starts,
        lengths=lengths,
        actions=random.uniform(-1, 1, (12, 7)).astype(np.float32),
        expert_actions=np.zeros((12, 7), np.float32),
        reward=np.zeros(12, np.float32),
        success=np.isin(np.arange(12), [1, 5]),
        estimates=random.uniform(0, 1, (15, 10)).astype(np.float32),
        state=np.zeros((15, 143), np.float32),
        task=np.array([0, 0, 1]),
        kind=np.array(["clean"] * 3),
        seed=np.arange(3),
        tasks=["rlbench/close_box", "rlbench/reach_target"],
        instructions=["close box", "reach target"],
        descriptions=np.array(["close box", "close box", "reach the red target"]),
        camera="front",
        size=8,
        repeat=1,
        source=SOURCE,
    )


def test_episodes_that_end_at_success_count_as_far_as_they_go(recorded):
    real = choose(recorded, 5, held_out_only=False)
    assert real.lengths.tolist() == [2, 4, 5]
    assert (real.frames[0, 2:] == recorded.frames[2]).all()
    assert (real.frames[2] == recorded.frames[8:14]).all()
    rows = measure(Omniscient(real), real, [4])
    assert [(row["task"], row["decision"], row["episodes"]) for row in rows] == [
        *(("rlbench/close_box", decision, count) for decision, count in ((1, 2), (2, 2), (3, 1), (4, 1))),
        *(("rlbench/reach_target", decision, 1) for decision in range(1, 6)),
    ]
    assert tuple(rows[0]) == COLUMNS
    # It says "solved" wherever the first read-out is above a half.
    said = real.estimates[:2, 2, 0] > 0.5
    second = rows[1]
    assert (second["solved"], second["solved_seen"]) == (0.5, 0.5 * said[0])
    assert second["success_accuracy"] == 0.5 * (float(said[0]) + float(not said[1]))


def test_recorded_episodes_of_the_test_split_are_played_converted_or_not(tmp_path):
    recordings, converted = tmp_path / "recordings", tmp_path / "set"
    recordings.mkdir()
    write_recording(recordings, "close_box", 0)
    convert(recordings, converted, split="test")
    convert(recordings, tmp_path / "training")
    for folder in (recordings, converted):
        episodes, held_out_only = held_out_data(folder, None, False)
        assert episodes.lengths.tolist() == [4]  # the last of four
        assert not held_out_only
    assert held_out_data(tmp_path / "training", None, False)[1]


def test_the_success_head_is_summed_up_over_all_decisions():
    numbers = {"psnr_db": 30.0, "copy_psnr_db": 24.5, "object_error_cm": "", "hand_error_cm": 1.0}
    rows = [
        {"task": "rlbench/a", "f_g": 1, "decision": 1, "episodes": 4, **numbers, "psnr_db": 10.0}
        | {"success_accuracy": 1.0, "solved": 0.5, "solved_seen": 0.5},
        {"task": "rlbench/a", "f_g": 1, "decision": 2, "episodes": 2, **numbers}
        | {"success_accuracy": 0.5, "solved": 0.5, "solved_seen": 0.0},
    ]
    (line,) = summarise(rows)
    assert line["psnr_db"] == 30.0
    assert line["success_accuracy"] == pytest.approx(5 / 6)
    assert line["never_accuracy"] == pytest.approx(1 / 2)
    assert line["solved_known"] == pytest.approx(2 / 3)
    _, header, (cells,) = lines([line])
    assert dict(zip(header, cells, strict=True))["solved frames that it knows, %"] == "67"
    assert "object cm" not in header


def test_the_command(dataset, small_checkpoint, tmp_path, capsys):
    out = tmp_path / "results" / "open_loop.csv"
    options = ["--data", str(dataset), "--checkpoint", str(small_checkpoint), "--out", str(out), "--device", "cpu"]
    assert main([*options, "--decisions", "5", "--chunks", "1", "4", "--sampler-steps", "1"]) == 0
    said = capsys.readouterr().out
    assert "at decision 5" in said
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 2 * 2 * 5
    assert "at decision 5" in open_loop_section(rows)
    assert [file.name for file in out.parent.iterdir()] == ["open_loop.csv"]

    assert main([*options, "--decisions", "3", "--chunks", "2", "--all", "--episodes", "2", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["episodes"] == 4
    assert data["summary"][0]["decision"] == 3


def test_bad_input_is_one_line(dataset, small_checkpoint, tmp_path, capsys, write_small_dataset):
    out = tmp_path / "open_loop.csv"
    known = ["--checkpoint", str(small_checkpoint), "--out", str(out), "--device", "cpu"]
    for options, message in (
        (["--data", str(tmp_path / "nothing"), *known], "is not a dataset"),
        (["--data", str(dataset), *known, "--decisions", "35"], "decisions=35"),
        (["--data", str(dataset), *known[2:], "--checkpoint", str(tmp_path)], "checkpoint="),
    ):
        assert main(options) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert said[-1].startswith("error: ")
        assert message in said[-1]
    assert not out.exists()
