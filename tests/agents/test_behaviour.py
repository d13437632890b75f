"""Experts, and how training episodes are played."""

from collections import Counter

import numpy as np
import pytest

from sfvgen_plan.agents.behaviour import Behaviour, ExpertAgent, kind_of
from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.data.episodes import KINDS
from sfvgen_plan.data.sources import FIRST_TRAINING_SEED
from sfvgen_plan.envs.metaworld.env import MetaworldEnv
from sfvgen_plan.envs.sawyer import LAYOUT
from sfvgen_plan.errors import UserError

STATE = np.zeros(39)
EXPERT = np.array([0.5, -0.5, 1.0, -1.0], np.float32)


def seed_of(kind, skip=0):
    return [seed for seed in range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 400) if kind_of(seed) == kind][skip]


def towards_the_object(error):
    """An expert whose action says where it believes the object to be."""
    return np.append(error[LAYOUT.object], 1.0)


def actions_of(kind, decisions=40, task="reach-v3", skip=0):
    behaviour = Behaviour(task, seed_of(kind, skip), decisions, LAYOUT, towards_the_object)
    assert behaviour.kind == kind
    return np.stack([behaviour.act(STATE, EXPERT) for _ in range(decisions)])


def test_shares_of_the_kinds():
    counts = Counter(kind_of(FIRST_TRAINING_SEED + number) for number in range(100))
    assert counts == {"clean": 25, "noise0.3": 20, "noise0.7": 15, "random": 20, "misled": 20}
    assert {kind_of(FIRST_TRAINING_SEED + number) for number in range(8)} == set(KINDS)


def test_clean_is_the_expert_and_noise_is_around_it():
    assert np.array_equal(actions_of("clean"), np.tile(EXPERT, (40, 1)))
    actions = actions_of("noise0.3", 2000)
    resting = np.abs(actions[:, :3]).max(1) < 0.45  # the expert's third number is 1
    assert 0.1 < resting.mean() < 0.25
    assert actions[resting, 3].mean() < -0.9  # the fingers hold on
    deviations = actions[~resting, :2] - EXPERT[:2]
    assert np.abs(deviations.mean()) < 0.05
    assert 0.2 < deviations.std() < 0.35
    # An expert says how much of the noise a number bears.
    behaviour = Behaviour("reach-v3", seed_of("noise0.3"), 40)
    assert behaviour.act(STATE, EXPERT, np.array([0.0, 0.0, 0.0, 1.0]))[:3].tolist() == EXPERT[:3].tolist()


def test_high_noise_turns_random():
    """After the turn, the fourth action no longer follows the expert's -1."""
    early, late = (
        np.mean([actions_of("noise0.7", skip=skip)[part, 3] for skip in range(50)])
        for part in (slice(0, 1), slice(39, 40))
    )
    assert early < -0.6
    assert late > -0.4


def test_random_is_smooth_and_ignores_the_expert():
    actions = actions_of("random", 2000)
    assert np.abs(actions.mean(0)).max() < 0.25
    assert np.corrcoef(actions[1:, 3], actions[:-1, 3])[0, 1] > 0.6


def test_the_misled_are_wrong_by_centimetres_for_a_while():
    errors = np.stack([actions_of("misled", skip=skip)[:, :3] for skip in range(50)])
    assert 0.015 < errors[..., :2].std() < 0.045
    right = np.abs(errors).max(-1) == 0
    assert 0.1 < right.mean() < 0.4 and right[:, 0].mean() < 0.2
    assert 0.03 < (np.abs(np.diff(errors, axis=1)).max(-1) > 0).mean() < 0.15
    # An expert that can't be misled has low noise instead.
    assert Behaviour("memory/return", seed_of("misled"), 40, LAYOUT).kind == "noise0.3"
    assert Behaviour("toy/task", seed_of("misled"), 40, None, towards_the_object).kind == "noise0.3"


@pytest.mark.parametrize("kind", KINDS)
def test_everything_random_follows_from_task_and_seed(kind):
    assert np.array_equal(actions_of(kind), actions_of(kind))
    if kind != "clean":
        assert not np.array_equal(actions_of(kind), actions_of(kind, task="push-v3"))
        assert not np.array_equal(actions_of(kind), actions_of(kind, skip=1))
    assert np.abs(actions_of(kind)).max() <= 1


def solves(env, seed, decisions):
    """Whether the expert does."""
    expert = ExpertAgent()
    expert.reset(f"metaworld/{env.task}", seed)
    _, info = env.reset(seed=seed)
    for _ in range(decisions):
        *_, info = env.step(expert.act(env))
    return info["success_latched"]


@pytest.mark.parametrize("task", load_protocol("metaworld-10").tasks)
def test_solves_the_task(task):
    assert solves(MetaworldEnv(task, pixels=False), seed=0, decisions=25)


def test_acting_leaves_the_environment_alone(recwarn):
    env, expert = MetaworldEnv("push-v3", pixels=False), ExpertAgent()
    expert.reset("push-v3", 0)
    env.reset(seed=0)
    before = env.state
    actions = [expert.act(env) for _ in range(2)]
    assert np.array_equal(*actions)
    assert np.array_equal(env.state, before)
    assert actions[0] in env.action_space
    assert not recwarn.list
    with pytest.raises(UserError, match="push-v3"):
        expert.reset("pussh-v3", 0)


def test_sees_the_decision_through_and_so_grips_in_time():
    env = MetaworldEnv("bin-picking-v3", pixels=False)
    # The policy's first action held for all raw steps hardly ever does.
    assert all(solves(env, seed, decisions=40) for seed in range(90_000, 90_003))
