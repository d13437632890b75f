"""Training in imagination that is killed and goes on: as if nothing had happened."""

import json
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch

from sfvgen_plan.agents import resume
from sfvgen_plan.agents.algorithms import TrainingSettings
from sfvgen_plan.agents.sb3 import load_policy
from sfvgen_plan.agents.training import AGENT_FILE, RECORD_FILE, STATES_FOLDER, train
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import load_checkpoint

torch.set_num_threads(1)
DECISIONS = 32
PLAIN = TrainingSettings(decisions=DECISIONS, num_envs=2, horizon=5, memory=False, save_every=8)
HYPERPARAMETERS = {
    "ppo": {"n_steps": 4, "batch_size": 8, "n_epochs": 2, "net_arch": [8]},
    "sac": {"learning_starts": 8, "batch_size": 4, "buffer_size": 20, "net_arch": [8]},
    "td3": {"learning_starts": 8, "batch_size": 4, "buffer_size": 100, "net_arch": [8], "noise": 0.2},
}


@pytest.fixture(scope="module")
def checkpoint(make_memory_checkpoint):
    return load_checkpoint(make_memory_checkpoint("lora"))


@pytest.fixture(scope="module")
def run_in(checkpoint):
    """Trains into a folder; with ``killed_at`` until so many decisions. What was reported on the way."""

    def start(folder, algorithm="ppo", killed_at=None, settings=PLAIN, seed=3, **hyperparameters):
        told = []

        def progress(decisions, numbers):
            told.append((decisions, numbers))
            if decisions == killed_at:
                raise KeyboardInterrupt

        given = {**HYPERPARAMETERS[algorithm], **hyperparameters}
        try:
            train(folder, algorithm, "reach-v3", checkpoint, settings, given, seed, progress)
        except KeyboardInterrupt:
            assert killed_at
        return told

    return start


@pytest.fixture
def run(run_in, tmp_path):
    return partial(run_in, tmp_path)


@pytest.fixture(scope="module")
def uninterrupted(run_in, tmp_path_factory):
    """Trains without being killed, each training once; what was reported, and the folder."""

    @cache
    def start(algorithm, settings=PLAIN):
        folder = tmp_path_factory.mktemp("whole")
        return run_in(folder, algorithm, settings=settings), folder

    return start


@pytest.fixture(autouse=True)
def always_save(monkeypatch):
    """Saving is slow beside such a small training, and would soon have to wait."""
    monkeypatch.setattr(resume, "LARGEST_SHARE", 1.0)


def learned(folder):
    """Everything that the algorithm has learned, its optimizers' moments included."""
    parts = []

    def collect(value):
        if isinstance(value, torch.Tensor):
            parts.append(value.double().flatten())
        elif isinstance(value, (dict, list)):
            for item in [value[key] for key in sorted(value, key=str)] if isinstance(value, dict) else value:
                collect(item)

    collect(load_policy(folder / AGENT_FILE).get_parameters())
    return torch.cat(parts)


REMEMBERING = replace(PLAIN, horizon=11, memory=True, futures=2, uncertainty_penalty=0.1)


@pytest.mark.parametrize(
    ("algorithm", "killed_at", "settings"),
    [
        ("ppo", (4, 14, 22), PLAIN),
        ("ppo", (30,), REMEMBERING),
        ("sac", (18, 30), PLAIN),  # before the replay buffer is full, and after
        ("td3", (22,), PLAIN),
    ],
)
def test_a_training_killed_again_and_again_ends_as_if_it_had_not_been(
    run, uninterrupted, tmp_path, algorithm, killed_at, settings
):
    told, whole = uninterrupted(algorithm, settings)
    for moment in killed_at:
        before = run(algorithm, killed_at=moment, settings=settings)
        assert before == [entry for entry in told if before[0][0] <= entry[0] <= moment]
        assert (tmp_path / STATES_FOLDER).is_dir()
        np.random.seed(0)  # another process has other random numbers
        torch.manual_seed(0)
    after = run(algorithm, settings=settings)
    start = after[0][0]
    assert 8 < start <= killed_at[-1] < DECISIONS
    assert after == [entry for entry in told if entry[0] >= start]
    assert torch.equal(learned(tmp_path), learned(whole))
    assert sorted(path.name for path in tmp_path.iterdir()) == [AGENT_FILE, RECORD_FILE]
    assert run(algorithm, settings=settings) == []  # it is trained


def test_a_kill_while_a_state_is_saved_leaves_the_one_before(run, tmp_path, monkeypatch):
    states = tmp_path / STATES_FOLDER
    rest = resume._rest

    def killed(model, environment):
        if model.num_timesteps > 8:
            raise KeyboardInterrupt
        return rest(model, environment)

    with monkeypatch.context() as patched:
        patched.setattr(resume, "_rest", killed)
        run(killed_at=DECISIONS)  # it doesn't come that far
    assert [path.name for path in states.iterdir()] == ["8"]
    (states / ".writing-left").mkdir()  # as SIGKILL leaves it
    assert run(killed_at=22)[0][0] == 10
    assert [path.name for path in states.iterdir()] == ["16"]


def test_another_training_is_refused_naming_both(run, tmp_path):
    run(killed_at=20)
    for message, arguments in (
        (r"^num_envs=4, but the training in .* has 2", {"settings": replace(PLAIN, num_envs=4)}),
        (r"algo='sac'.*'ppo'", {"algorithm": "sac"}),
        (r"seed=4.*has 3", {"seed": 4}),
        (r"algo.n_epochs=3.*has 2", {"n_epochs": 3}),
    ):
        with pytest.raises(UserError, match=message):
            run(**arguments)
    file = tmp_path / RECORD_FILE
    record = file.read_text()
    for text, message in (
        (json.dumps({**json.loads(record), "checkpoint": "0123456789ab"}), r"checkpoint='\w{12}'.*has '0123456789ab'"),
        ("{", r"without a readable train\.json"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            run()
    file.write_text(record)
    run()


def test_without_states_a_killed_training_begins_anew(run, tmp_path):
    settings = replace(PLAIN, save_every=0)
    run(settings=settings, killed_at=20)
    assert sorted(path.name for path in tmp_path.iterdir()) == [AGENT_FILE, RECORD_FILE]
    assert json.loads((tmp_path / RECORD_FILE).read_text())["decisions"] == 20
    assert run(settings=settings)[0][0] == 2


@pytest.mark.parametrize("file", ["model.zip", "episodes.safetensors", "rest.pt"])
def test_damaged_states_are_refused(run, tmp_path, file):
    run("sac", killed_at=20, buffer_size=100_000)
    (state,) = (tmp_path / STATES_FOLDER).glob("[0-9]*")
    assert (state / "rest.pt").stat().st_size < 30_000  # of the replay buffer only what is filled is saved
    content = (state / file).read_bytes()
    (state / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=rf"{state.name}' is damaged.*remove .*agent\.state"):
        run("sac", buffer_size=100_000)
