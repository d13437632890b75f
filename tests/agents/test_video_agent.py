"""Video planning with a small untrained model: what is asked of it, what depends on what."""

import numpy as np
import pytest
import torch

from sfvgen_plan.agents.registry import make_agent
from sfvgen_plan.envs.memory.parts import text_at
from sfvgen_plan.envs.memory.sub_goals import sub_goals_of
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import load_checkpoint
from sfvgen_plan.simulator import LearnedSimulator

TASKS = {"reach-v3": "reach the red goal", "memory/return": "put things back"}
SUB_GOALS = ["move the red cube to the left", "put the red cube back where it was"]
FRAMES = np.random.default_rng(0).integers(0, 255, (3, 3, 32, 32, 3), np.uint8)  # of three lanes, three decisions


@pytest.fixture(scope="module")
def checkpoint(make_checkpoint):
    return load_checkpoint(make_checkpoint(TASKS, 0.2, sub_goals=SUB_GOALS))


@pytest.fixture
def asked(monkeypatch):
    """What videos were asked for, and what came of it: (features of the texts, frames, ends, actions)."""
    found, video = [], LearnedSimulator.video

    def noted(self, state, frames):
        ends, latents, actions = video(self, state, frames)
        found.append((state.text, frames, ends, actions))
        return ends, latents, actions

    monkeypatch.setattr(LearnedSimulator, "video", noted)
    return found


def play(agent, lanes, tasks=None, decisions=3):
    """Actions (decisions, E, A) in these lanes; lane n sees ``FRAMES[n]``."""
    agent.reset(lanes, tasks or ["memory/return"] * len(lanes), [10 + lane for lane in lanes])
    return np.stack([agent.act(lanes, FRAMES[lanes, t]) for t in range(decisions)])


def test_the_agent_plays_along_its_videos_and_counts(checkpoint, asked):
    agent = make_agent("video", checkpoint, settings={"replan_every": 2, "sampler_steps": 2, "horizon": 4})
    actions = play(agent, [0, 1])
    assert actions.shape == (3, 2, 4) and np.abs(actions).max() <= 1
    first, second = (found[3].numpy() for found in asked)
    np.testing.assert_array_equal(actions, [first[:, 0], first[:, 1], second[:, 0]])
    cost = agent.stats(1)
    assert (cost.denoiser_calls, cost.imagined_decisions) == (16, 8)  # two videos of 4 frames, 2 steps a frame


def test_lanes_are_independent_and_episodes_repeat(checkpoint):
    settings = {"replan_every": 1, "horizon": 3}
    together = play(make_agent("video", checkpoint, settings=settings), [0, 1, 2])
    alone = play(make_agent("video", checkpoint, settings=settings), [1])
    assert np.allclose(together[:, 1], alone[:, 0], atol=1e-3)
    agent = make_agent("video", checkpoint, settings=settings)
    assert np.array_equal(play(agent, [1]), play(agent, [1]))


def test_each_decision_asks_for_its_sub_goal(checkpoint, asked):
    agent = make_agent("video", checkpoint, settings={"replan_every": 1, "horizon": 2})
    agent.reset([0, 1], ["memory/return", "reach-v3"], [10, 11])
    schedule = sub_goals_of("memory/return", 10)
    first = schedule[0][1]
    for decision in (0, first - 1, first):
        for lane in (0, 1):
            agent.lane(lane).decision = decision
        agent.act([0, 1], FRAMES[:2, 0])
    texts = [[schedule[n][0], TASKS["reach-v3"]] for n in (0, 0, 1)]
    expected = [checkpoint.pipeline.embed(each)[1] for each in texts]
    assert all(torch.allclose(told, each, atol=1e-5) for (told, *_), each in zip(asked, expected, strict=True))
    assert not torch.allclose(expected[0], expected[2])
    assert [text_at((("left", 4), ("back", 2)), n) for n in (0, 3, 4, 99)] == ["left"] * 2 + ["back"] * 2


def test_sub_goals_of_ones_own(checkpoint, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine_goals.py").write_text(
        "class Mine:\n  answer = (('move the red cube to the left', 5),)\n"
        "  def __init__(self, checkpoint): self.asked = []\n"
        "  def split(self, task, seed, picture):\n"
        "    self.asked.append((task, picture().shape))\n    return self.answer\n"
    )
    agent = make_agent("video", checkpoint, settings={"sub_goals": "mine_goals:Mine"})
    play(agent, [0])
    assert agent.sub_goals.asked == [("memory/return", FRAMES.shape[2:])]
    for answer in ((), None, ["go"], [("go", 0)]):
        agent.sub_goals.answer = answer
        with pytest.raises(UserError, match="is no split of 'memory/return'"):
            play(agent, [0])
