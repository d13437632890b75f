"""``memory/return`` and ``memory/cue``: what agents score, whatever the lanes, and whose memory they play with."""

import numpy as np
import pytest

from sfvgen_plan.agents.memory_expert import MemoryExpert
from sfvgen_plan.benchmarks.memory import playing
from sfvgen_plan.benchmarks.memory.subjects import subjects_of
from sfvgen_plan.envs.memory.make import make_memory


@pytest.fixture(scope="module")
def env():
    env = make_memory("memory/return", size=16, objects=1)
    yield env
    env.close()


def test_the_expert_brings_objects_back(env):
    ((seed, scores),) = playing.play(MemoryExpert(), [env], [0])
    assert seed == 0
    assert scores["distance_m"] < 0.02
    assert scores["success_5cm"]


def test_the_expert_goes_to_the_right_block():
    env = make_memory("memory/cue", size=16)
    for seed, scores in playing.play(MemoryExpert(), [env], [0, 1]):
        assert scores["success_5cm"] and scores["distance_m"] < 0.02, seed
    env.close()


def test_who_does_nothing_has_brought_nothing_back(env):
    class Idle:
        def __init__(self):
            self.seen = []

        def reset(self, lanes, tasks, seeds):
            assert (lanes, tasks, seeds) == ([0], ["memory/return"], [1])

        def act(self, lanes, frames):
            self.seen.append(frames.shape)
            return np.zeros((1, 4), np.float32)

        def stats(self, lane):
            raise AssertionError

    agent = Idle()
    ((seed, scores),) = playing.play(agent, [env], [1])
    assert seed == 1
    assert scores == {"distance_m": 0.17, "success_5cm": False}
    assert agent.seen == [(1, 16, 16, 3)] * 60


def test_lanes_change_nothing():
    """A hand that goes where the frame and its own count say, in two places and in one."""

    class Pusher:
        def __init__(self):
            self.counts, self.together = {}, []

        def reset(self, lanes, tasks, seeds):
            self.counts |= dict.fromkeys(lanes, 0)

        def act(self, lanes, frames):
            self.together.append(len(lanes))
            actions = np.zeros((len(lanes), 4), np.float32)
            for row, lane in enumerate(lanes):
                self.counts[lane] += 1
                actions[row] = [np.cos(self.counts[lane] / 5), frames[row].mean() / 128 - 0.5, -0.3, 1.0]
            return actions

        def stats(self, lane):
            raise AssertionError

    envs = [make_memory("memory/return", size=16, objects=1) for _ in range(2)]
    alone, together = Pusher(), Pusher()
    assert dict(playing.play(alone, envs[:1], [0, 1, 2])) == dict(playing.play(together, envs, [0, 1, 2]))
    assert set(alone.together) == {1}
    assert set(together.together) == {1, 2}
    for made in envs:
        made.close()


def test_agents_remember_or_not_as_their_row_says(memory_checkpoint):
    for subject in subjects_of([memory_checkpoint]):
        for name in ("cem", "prior"):
            agent = playing.agent_of(name, subject, {})
            assert agent.lanes.simulator.memory == (subject.row == "temp_lora")
    assert not playing.may_remember("expert") and not playing.may_remember("random")
    assert playing.may_remember("players:still")
