"""Training in imagination that is killed and goes on: as if nothing had happened."""

import json
import os
import shutil
from functools import cache, partial

import numpy as np
import pytest
import torch

from sfvgen_plan.agents import resume
from sfvgen_plan.agents.sb3 import load_policy
from sfvgen_plan.agents.training import Playing, states_of, train
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import load_checkpoint

torch.set_num_threads(1)
DECISIONS = 32
PLAYING = Playing(num_envs=2, horizon=5, sampler_steps=1)
SETTINGS = {
    "ppo": {"n_steps": 4, "batch_size": 8, "n_epochs": 2, "net_arch": [8]},
    "sac": {"learning_starts": 8, "batch_size": 4, "buffer_size": 20, "net_arch": [8]},
    "td3": {"learning_starts": 8, "batch_size": 4, "buffer_size": 100, "net_arch": [8], "noise": 0.2},
}


@pytest.fixture(scope="module")
def checkpoint(small_checkpoint):
    return load_checkpoint(small_checkpoint)


@pytest.fixture(scope="module")
def run_in(checkpoint):
    """Trains into a folder; with ``killed_at`` until so many decisions. What was reported on the way, and the agent's
    file."""

    def start(folder, algorithm="ppo", killed_at=None, playing=PLAYING, decisions=DECISIONS, **arguments):
        told = []

        def progress(decisions, numbers):
            told.append((decisions, numbers))
            if decisions == killed_at:
                raise KeyboardInterrupt

        out = folder / "agent.zip"
        settings = {**SETTINGS[algorithm], **arguments.pop("settings", {})}
        more = {"save_every": 8, "seed": 3, **arguments}
        try:
            train(algorithm, "reach-v3", checkpoint, playing, decisions, settings, out, progress=progress, **more)
        except KeyboardInterrupt:
            assert killed_at
        return told, out

    return start


@pytest.fixture
def run(run_in, tmp_path):
    return partial(run_in, tmp_path)


@pytest.fixture(scope="module")
def uninterrupted(run_in, tmp_path_factory):
    """Trains without being killed, each training once."""

    @cache
    def start(algorithm, playing):
        return run_in(tmp_path_factory.mktemp("whole"), algorithm, playing=playing)

    return start


@pytest.fixture(autouse=True)
def always_save(monkeypatch):
    """Saving is slow beside such a small training, and would soon have to wait."""
    monkeypatch.setattr(resume, "LARGEST_SHARE", 1.0)


def learned(out):
    """Everything that the algorithm has learned, its optimizers' moments included."""
    flat = []

    def collect(value):
        if isinstance(value, torch.Tensor):
            flat.append(value.double().flatten())
        elif isinstance(value, dict):
            for key in sorted(value, key=str):
                collect(value[key])
        elif isinstance(value, list):
            for item in value:
                collect(item)

    collect(load_policy(out).get_parameters())
    return torch.cat(flat)


@pytest.mark.parametrize(
    ("algorithm", "killed_at", "playing"),
    [
        ("ppo", 22, PLAYING),
        (
            "ppo",
            30,
            Playing(num_envs=2, horizon=11, sampler_steps=1, memory=True, futures=2, uncertainty_penalty=0.1),
        ),
        ("sac", 18, PLAYING),  # before the replay buffer is full
        ("sac", 30, PLAYING),  # after
        ("td3", 22, PLAYING),
    ],
)
def test_a_killed_training_ends_as_if_it_had_not_been(run, uninterrupted, algorithm, killed_at, playing):
    told, whole = uninterrupted(algorithm, playing)
    before, out = run(algorithm, killed_at=killed_at, playing=playing)
    assert before == told[: len(before)]
    assert states_of(out).is_dir()
    np.random.seed(0)  # another process has other random numbers
    torch.manual_seed(0)
    after, _ = run(algorithm, playing=playing)
    start = after[0][0]
    assert 8 < start <= killed_at < DECISIONS
    assert after == [entry for entry in told if entry[0] >= start]
    assert torch.equal(learned(out), learned(whole))
    assert not states_of(out).exists() and not states_of(whole).exists()


def test_it_may_be_killed_again_and_again(run, uninterrupted):
    _, whole = uninterrupted("ppo", PLAYING)
    for killed_at in (4, 14, 22):
        _, out = run(killed_at=killed_at)
    run()
    assert torch.equal(learned(out), learned(whole))


def test_a_kill_while_a_state_is_saved_leaves_the_one_before(run, uninterrupted, monkeypatch):
    _, whole = uninterrupted("ppo", PLAYING)
    rename = os.replace

    def killed(source, target):
        if str(target).endswith("16"):
            shutil.copytree(source, f"{source}x")  # SIGKILL would leave the staged files behind
            raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(resume.os, "replace", killed)
        _, out = run(killed_at=DECISIONS)  # it doesn't come that far
    assert out.is_file()
    names = sorted(path.name for path in states_of(out).iterdir() if path.is_dir())
    assert len(names) == 2 and names[0].startswith(".saving-") and names[1] == "8"
    after, _ = run()
    assert after[0][0] == 10
    assert torch.equal(learned(out), learned(whole))


def test_states_of_another_training_are_refused_naming_both(run):
    _, out = run(killed_at=20)
    with pytest.raises(UserError, match=r"num_envs=4, but the unfinished training in .* has 2"):
        run(playing=Playing(num_envs=4, horizon=5, sampler_steps=1))
    with pytest.raises(UserError, match=r"algo='sac'.*'ppo'"):
        run("sac")
    with pytest.raises(UserError, match=r"seed=4.*has 3"):
        run(seed=4)
    with pytest.raises(UserError, match=r"algo settings.n_epochs=3.*has 2"):
        run(settings={"n_epochs": 3})
    with pytest.raises(UserError, match=r"decisions=40.*has 32"):
        run(decisions=40)
    file = states_of(out) / "made.json"
    made = json.loads(file.read_text())
    file.write_text(json.dumps({**made, "checkpoint": "0123456789ab"}))
    with pytest.raises(UserError, match=r"checkpoint='\w{12}'.*has '0123456789ab'"):
        run()
    file.write_text("{")
    with pytest.raises(UserError, match=r"made\.json.* is damaged"):
        run()
    file.write_text(json.dumps(made))
    run()
    assert not states_of(out).exists()


@pytest.mark.parametrize("file", ["model.zip", "episodes.safetensors", "replay/actions.npy", "rest.pt"])
def test_damaged_states_are_refused(run, file):
    _, out = run("sac", killed_at=20)
    (state,) = states_of(out).glob("[0-9]*")
    content = (state / file).read_bytes()
    (state / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=rf"{state.name}' is damaged.*remove .*agent\.state"):
        run("sac")


def test_saving_keeps_to_its_share_of_the_time(tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "LARGEST_SHARE", 0.25)
    clock = [0.0]
    monkeypatch.setattr(resume.time, "monotonic", lambda: clock[0])
    states = resume.SavedStates(tmp_path / "states", {}, every=1)
    saved = []

    class Model:
        num_timesteps = 0

    def save(model, environment, notes):
        saved.append(clock[0])
        clock[0] += 1.0

    states.save = save
    for _ in range(21):
        Model.num_timesteps += 1
        states.save_if_due(Model, None, {})
        clock[0] += 0.5
    assert saved == [0.0, 4.0, 8.0, 12.0]


def test_without_states_nothing_is_left_behind(run, tmp_path):
    run(save_every=0, killed_at=20)
    assert [path.name for path in tmp_path.iterdir()] == ["agent.zip"]
    with pytest.raises(UserError, match="save_every=-1"):
        run(save_every=-1)


def test_states_stay_small(run):
    """Of the replay buffer only what is filled is saved."""
    _, out = run("td3", killed_at=20, settings={"buffer_size": 100_000})
    (state,) = states_of(out).glob("[0-9]*")
    assert sum(file.stat().st_size for file in (state / "replay").iterdir()) < 10_000
