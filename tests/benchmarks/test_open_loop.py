"""Open-loop rollouts: which episodes, what is compared with what, and the rows."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recordings import write_recording

from sfvgen_plan.benchmarks.fidelity import rollouts
from sfvgen_plan.benchmarks.fidelity.open_loop import OpenLoopRow, held_out_data, lines, main, measure, summarise
from sfvgen_plan.benchmarks.fidelity.rollouts import RealEpisodes, by_picture, choose, compare, imagined, replayed
from sfvgen_plan.benchmarks.report.readme import block
from sfvgen_plan.benchmarks.results.files import read_rows
from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.data.rlbench import convert
from sfvgen_plan.envs.family import family_of
from sfvgen_plan.envs.sawyer import READOUTS
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import load_checkpoint
from sfvgen_plan.simulation import Outcome


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, write_small_dataset):
    """21 episodes per task: one of each is held out."""
    return write_small_dataset(tmp_path_factory.mktemp("data") / "set", 21, 7)


@pytest.fixture(scope="module")
def episodes(dataset):
    return load_episodes(dataset)


class Omniscient:
    """A simulator that knows the episodes it is asked about: what it imagines is the truth, but ``offset`` is added. It
    says "solved" wherever the first read-out is above a half."""

    device = torch.device("cpu")

    def __init__(self, real, offset=0.0, names=READOUTS):
        self.real, self.offset = real, offset
        self.checkpoint = SimpleNamespace(card=SimpleNamespace(readouts=list(names)), told="{0}: {1}".format)

    def begin(self, frames, tasks, seeds, texts):
        assert (frames[:, 0] == self.real.frames[:, 0]).all()
        assert (tasks, seeds) == ([self.real.task] * len(frames), self.real.seeds.tolist())
        assert texts == [f"{self.real.task}: {description}" for description in self.real.descriptions]

    def imagine(self, state, actions):
        assert (actions.numpy() == self.real.actions).all()
        estimates = torch.as_tensor(self.real.estimates[:, 1:]).clone()
        estimates[..., 4] += self.offset
        estimates[..., 1] -= 2 * self.offset
        first = estimates[..., 0]
        return state, Outcome(first, first, first, estimates, latents=torch.as_tensor(self.real.frames[:, 1:]))

    def decode(self, latents):
        return latents.numpy()


def test_held_out_episodes_from_their_start(episodes):
    reach, push = choose(episodes, decisions=5)
    assert (reach.task, push.task) == ("reach-v3", "push-v3")
    for real, number in ((reach, 19), (push, 40)):
        start, action_start = episodes.episode_start[number], episodes.action_start[number]
        assert real.seeds.tolist() == [100_019]
        assert (real.frames[0] == episodes.frames[start : start + 6]).all()
        assert (real.estimates[0] == episodes.estimates[start : start + 6]).all()
        assert (real.actions[0] == episodes.actions[action_start : action_start + 5]).all()
    assert [len(real.seeds) for real in choose(episodes, 7, held_out_only=False)] == [21, 21]
    assert [len(real.seeds) for real in choose(episodes, 7, per_task=2, held_out_only=False)] == [2, 2]
    with pytest.raises(UserError, match="decisions=8: the data has no held-out episode"):
        choose(episodes, 8)


def test_episodes_that_end_early_count_as_far_as_they_go():
    random = np.random.default_rng(0)
    shapes = ((2, 5, 8, 8, 3), (2, 4, 7), (2, 5, 5))
    frames, actions, estimates = (random.uniform(0, 1, shape).astype(np.float32) for shape in shapes)
    estimates[:, 2, 0] = 0.7, 0.2  # said to be solved, and not
    solved = np.array([[0, 1, 1, 1], [0, 0, 0, 1]], bool)
    lengths, pictures = np.array([2, 4]), (255 * frames).astype(np.uint8)
    about = np.array(["one", "two"])
    real = RealEpisodes("rlbench/reach_target", np.arange(2), about, pictures, actions, estimates, solved, lengths)
    rows = measure(imagined(Omniscient(real, names=("hand_x", "hand_y", "hand_z", "joint_1", "joint_2")), real), real)
    assert {row.part for row in rows} == {"all", "contact"}  # such jumps are no displacements
    rows = [row for row in rows if row.part == "all"]
    assert [(row.decision, row.episodes) for row in rows] == [(1, 2), (2, 2), (3, 1), (4, 1)]
    assert {(row.f_g, row.object_error_cm, row.hand_error_cm is None) for row in rows} == {(1, None, False)}
    assert [getattr(rows[1], name) for name in rollouts.HEAD] == [1.0, 0.5, 0.5]


def test_pictures_of_two_cameras_are_compared_each_by_itself():
    truth = np.full((1, 2, 16, 8, 3), 100, np.uint8)
    truth[0, 1, 8:] = 0  # this one was not filmed
    seen = truth.copy()
    seen[:, :, :8] += 10
    seen[:, :, 8:] += 20
    apart = by_picture(seen, truth)
    assert apart.shape == (1, 2, 2)
    np.testing.assert_allclose(apart[0, 0], [20 * np.log10(255 / 10), 20 * np.log10(255 / 20)], rtol=1e-5)
    assert np.isnan(apart[0, 1, 1])


def test_a_learned_simulator_is_measured_alike_alone_and_with_others(episodes, small_checkpoint):
    simulator = load_checkpoint(small_checkpoint).simulator(exact=True)
    real = choose(episodes, 5, per_task=2, held_out_only=False)[0]
    alone = choose(episodes, 5, per_task=1, held_out_only=False)[0]
    together, single = (compare(imagined(simulator, some), some) for some in (real, alone))
    for name in rollouts.MEASURES:
        np.testing.assert_allclose(together[name][:1], single[name], atol=0.02)


def test_the_summary_is_of_the_last_decision_but_of_success_over_all():
    head = {"hand_error_cm": 1.0, "solved": 0.5}
    rows = [
        OpenLoopRow("rlbench/a", 1, 1, 4, 10.0, 24.5, success_accuracy=1.0, solved_seen=0.5, **head),
        OpenLoopRow("rlbench/a", 1, 2, 2, 30.0, 24.5, success_accuracy=0.5, solved_seen=0.0, **head),
    ]
    found = summarise(rows)
    assert (found["psnr_db"], found["decision"]) == (30.0, 2)
    assert found["success_accuracy"] == pytest.approx(5 / 6)
    assert found["never_accuracy"] == pytest.approx(1 / 2)
    _, header, (cells,) = lines(found)
    assert dict(zip(header, cells, strict=True))["solved frames that it knows, %"] == "67"
    assert "object cm" not in header


def test_a_hand_that_was_held_back_has_touched_something_and_medians_stand_beside_means():
    free, held = np.zeros((2, 3, 6, 10), np.float32)
    free[:, :, 0] = held[:, :, 0] = 0.05 * np.arange(6)
    held[:, 3:, 0] = 0.1  # it stays where it was
    shape = (6, 16, 16, 3)
    real = RealEpisodes(
        "rlbench/reach_target", np.arange(6), np.array([""] * 6), np.zeros((6, *shape), np.uint8),
        np.zeros((6, 5, 7), np.float32), np.concatenate([free, held]), np.zeros((6, 5), bool), np.full(6, 5),
    )  # fmt: skip
    real.actions[..., 0] = 1
    names = ("hand_x", "hand_y", "hand_z", *"abcdefg")
    moved = real.estimates[:, 1:].copy()
    moved[2, :, 1] += 0.3  # one of the three goes astray
    rows = measure(imagined(Omniscient(real, names=names), real)._replace(estimates=moved), real)
    assert [row.episodes for row in rows if row.decision == 5] == [6, 3, 3]
    clean, contact = summarise(rows, "clean"), summarise(rows, "contact")
    assert (clean["hand_error_cm"], clean["hand_median_cm"]) == (pytest.approx(10, abs=0.01), 0)
    assert contact["hand_error_cm"] == 0
    assert "clean episodes" in lines(clean, "clean")[0]


@pytest.mark.parametrize(("task", "variation"), [("drawer-open-v3", None), ("rlbench/reach_target", 3)])
@pytest.mark.usefixtures("fake_rlbench")
def test_replayed_actions_lead_where_they_led(task, variation):
    family = family_of(task)
    made = SimpleNamespace(size=16, camera=family.camera, repeat=1)
    env = family.make(task, size=16, camera=family.camera, repeat=1)
    frame, info = env.reset(seed=5, options={} if variation is None else {"variation": variation})
    told, frames, estimates = info.get("instruction", "open it"), [frame], [info["estimates"]]
    actions = np.random.default_rng(0).uniform(-1, 1, (1, 3, family.action_dim)).astype(np.float32)
    for action in actions[0]:
        frame, _, _, _, info = env.step(action)
        frames.append(frame)
        estimates.append(info["estimates"])
    env.close()
    real = RealEpisodes(
        family.canonical(task), np.array([5]), np.array([told]), np.array([frames]), actions, np.array([estimates]),
        np.zeros((1, 3), bool), np.array([3]),
    )  # fmt: skip
    found = compare(replayed(made, real), real)
    assert found["hand_error_cm"].max() == 0 and found["psnr_db"].min() > 60
    if variation is not None:
        with pytest.raises(UserError, match="no scene of seed 5 is described as 'dance'"):
            replayed(made, replace(real, descriptions=np.array(["dance"])))


def test_all_episodes_of_a_test_split_are_played(tmp_path):
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    write_recording(recordings, "close_box", 0)
    convert([recordings], tmp_path / "set", split="test")
    convert([recordings], tmp_path / "training")
    found, held_out_only = held_out_data(tmp_path / "set", None, False)
    assert found.lengths.tolist() == [4]  # the last of four
    assert not held_out_only
    assert held_out_data(tmp_path / "training", None, False)[1]


def test_the_command(dataset, small_checkpoint, tmp_path, capsys):
    out = tmp_path / "results" / "open_loop.csv"
    options = ["--data", str(dataset), "--checkpoint", str(small_checkpoint), "--out", str(out), "--device", "cpu"]
    assert main([*options, "--decisions", "5", "--all", "--episodes", "2", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["episodes"], data["summary"]["decision"]) == (4, 5)
    rows = read_rows(out, OpenLoopRow)
    assert len(rows) == 2 * 5
    assert "at decision 5" in block("results", out.parent)
    out.unlink()
    for changes, message in (
        (["--data", str(tmp_path / "nothing")], "is not a dataset"),
        (["--decisions", "35"], "decisions=35"),
        (["--checkpoint", str(tmp_path)], "checkpoint="),
    ):
        assert main([*options, *changes]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert said[-1].startswith("error: ")
        assert message in said[-1]
    assert list(out.parent.iterdir()) == []
