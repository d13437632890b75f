"""``memory/cue``: what is shown at the beginning only, and what counts as remembering it."""

import gymnasium as gym
import numpy as np
import pytest

from sfvgen_plan.agents.sawyer_experts import MemoryExpert, towards
from sfvgen_plan.data.sources import FIRST_TRAINING_SEED
from sfvgen_plan.envs.memory import cue_task
from sfvgen_plan.envs.memory.cue_task import ABOVE, MemoryCueEnv, draw_layout
from sfvgen_plan.envs.memory.parts import COLOURS, nearest


@pytest.fixture(scope="module")
def env():
    return MemoryCueEnv(pixels=False)


def pixels_of(frame, colour):
    """How many pixels have the hue."""
    seen, wanted = frame / np.maximum(frame.sum(-1, keepdims=True), 1), np.array(COLOURS[colour])
    return int((np.abs(seen - wanted / wanted.sum()).max(-1) < 0.09).sum())


def play(env, seed, block):
    """The expert's episode, but in the end the hand goes to the block with this number, 0 being the right one; to none
    with None. The last ``info``."""
    expert, truncated = MemoryExpert(), False
    _, info = env.reset(seed=seed)
    while not truncated:
        action = expert.act(env)
        if info["sub_goal_index"] == 3:
            layout = env.layout
            others = [n for n in range(4) if n != layout.right]
            places = [layout.blocks[n].place for n in (layout.right, *others)]
            place = np.mean(places, axis=0) if block is None else places[block]
            action = towards(env.state, np.array([*place, ABOVE]), -1.0)
        *_, truncated, info = env.step(action)
    return info


def test_layouts_keep_their_promises():
    drawn = [draw_layout(np.random.default_rng(seed)) for seed in range(40)]
    for layout in drawn:
        assert sorted(block.colour for block in layout.blocks) == sorted(cue_task.BLOCKS)
        places = np.array([block.place for block in layout.blocks])
        assert nearest(places) >= cue_task.SEPARATION > 2 * cue_task.SUCCESS_DISTANCE
    assert {layout.blocks[layout.right].colour for layout in drawn} == set(cue_task.BLOCKS)
    assert {layout.right for layout in drawn} == {0, 1, 2, 3}


def test_the_expert_solves_it_also_with_noise(env):
    expert, random = MemoryExpert(), np.random.default_rng(0)
    for seed in range(2):
        assert play(env, seed, 0)["success"]
        env.reset(seed=seed)
        for _ in range(env.length):
            *_, info = env.step(np.clip(expert.act(env) + 0.3 * random.standard_normal(4), -1, 1))
        assert info["success"] and env.decisions == 60


def test_another_block_or_the_middle_of_all_fails_and_so_does_passing_by(env):
    """Only the last decision counts: whoever visits every block has not remembered."""
    for block in (1, None):
        info = play(env, 1, block)
        assert not info["success_latched"] and info["distance"] > cue_task.SUCCESS_DISTANCE
    expert = MemoryExpert()
    env.reset(seed=0)
    for _ in range(env.length - 1):
        *_, info = env.step(expert.act(env))
    assert info["distance"] < 0.02 and not info["success_latched"]


def test_only_the_first_frames_show_the_colour():
    env, expert = MemoryCueEnv(), MemoryExpert()
    for seed in range(2):
        frame, _ = env.reset(seed=seed)
        layout = env.layout
        counts = {colour: [] for colour in cue_task.BLOCKS}
        for _ in range(cue_task.LIT + 9):
            for colour, seen in counts.items():
                seen.append(pixels_of(frame, colour))
            frame, *_ = env.step(expert.act(env))
        right = layout.blocks[layout.right].colour
        # A lamp of 16 x 16 pixels and more, beside the block.
        assert min(counts[right][: cue_task.LIT]) > 256 + max(counts[right][cue_task.LIT :])
        for colour in set(cue_task.BLOCKS) - {right, "red"}:  # the arm is red
            assert max(counts[colour]) - min(counts[colour]) < 150
    env.close()


def test_texts_and_numbers_keep_the_secret_until_it_is_asked_for(env):
    told = []
    for seed in range(2):
        _, info = env.reset(seed=seed)
        start = cue_task.SCHEDULE[0][1] + cue_task.SCHEDULE[1][1] + cue_task.SCHEDULE[2][1]
        told.append([info["estimates"][4:]])
        for _ in range(start):
            *_, info = env.step(np.zeros(4, np.float32))
            told[-1].append(info["estimates"][4:])
        assert not any(colour in text for text in info["sub_goals"] for colour in COLOURS)
    first, second = map(np.array, told)
    assert np.array_equal(first[:start], second[:start])
    assert not np.array_equal(first[start], second[start])


def test_the_lamp_stays_lit_in_every_second_training_episode_and_in_none_of_evaluation(env):
    lit = {}
    for seed in (0, 1, FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 1):
        env.reset(seed=seed)
        lit[seed] = env.layout.lit > cue_task.DECISIONS
    assert lit == {0: False, 1: False, FIRST_TRAINING_SEED: False, FIRST_TRAINING_SEED + 1: True}


@pytest.mark.parametrize(("task", "camera"), [("memory/revisit", "carried"), ("memory/return", "side")])
def test_the_id_takes_each_task_and_a_limit(task, camera):
    env = gym.make("sfvgen/Memory-v0", task=task, size=16, max_decisions=2)
    assert env.unwrapped.camera == camera
    env.reset(seed=0)
    assert [env.step(np.zeros(4, np.float32))[3] for _ in range(2)] == [False, True]
    env.close()
