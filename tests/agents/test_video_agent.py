"""Video planning with a small untrained model: what is asked of it, what depends on what."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sfvgen_plan.agents.registry import make_agent
from sfvgen_plan.agents.sub_goals import text_at
from sfvgen_plan.envs.memory.sub_goals import sub_goals_of
from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.learning import FastLearning
from sfvgen_plan.memory.rows import memory_of_row
from sfvgen_plan.model.checkpoint import CheckpointCard, load_checkpoint, save_checkpoint
from sfvgen_plan.model.inverse import build_inverse
from sfvgen_plan.simulator import LearnedSimulator
from sfvgen_plan.synthesis import Synthesis

TASKS = {"reach-v3": "reach the red goal", "memory/return": "put things back"}
SUB_GOALS = ["move the red cube to the left", "put the red cube back where it was"]
FRAMES = np.random.default_rng(0).integers(0, 255, (3, 3, 32, 32, 3), np.uint8)  # of three lanes, three decisions


@pytest.fixture(scope="module")
def folder(make_pipeline, tmp_path_factory):
    """A checkpoint with inverse dynamics. Its last layers are not zero, so that outputs depend on inputs."""
    pipeline = make_pipeline()
    torch.manual_seed(1)
    pipeline.register_modules(inverse=build_inverse(pipeline))
    for parameter in pipeline.unet.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    folder = tmp_path_factory.mktemp("video") / "checkpoint"
    card = CheckpointCard(TASKS, size=32, camera="corner4", repeat=5, sub_goals=SUB_GOALS)
    save_checkpoint(folder, pipeline, card, {task: torch.randn(2, 4, 8, 8) for task in TASKS})
    return folder


@pytest.fixture(scope="module")
def checkpoint(folder):
    return load_checkpoint(folder)


@pytest.fixture
def synthesis(checkpoint):
    return Synthesis(
        checkpoint.simulator(2, FastLearning(rank=2, learning_rate=0.05), exact=True), checkpoint.inverse()
    )


def begin(synthesis, lanes=2):
    return synthesis.simulator.begin(FRAMES[:lanes, :2], ["memory/return"] * lanes, [7, 8, 9][:lanes])


def play(agent, lanes, tasks=None, decisions=3):
    """Actions (decisions, E, A) in these lanes; lane n sees ``FRAMES[n]``."""
    agent.reset(lanes, tasks or ["memory/return"] * len(lanes), [10 + lane for lane in lanes])
    return np.stack([agent.act(lanes, FRAMES[lanes, t]) for t in range(decisions)])


def test_a_video_is_generated_from_the_text_without_actions(synthesis):
    simulator, state = synthesis.simulator, begin(synthesis)
    end, video = synthesis.imagine(state, SUB_GOALS, 4)
    text, _ = simulator.pipeline.embed([*TASKS.values(), *SUB_GOALS])  # padded as in training
    from sfvgen_plan.model import noise

    drawn = noise.normal(state.seed, state.step, (4, 4, 8, 8))
    expected = simulator.pipeline.generate(state.context[:, -2:], None, text[2:], drawn, 2)
    assert torch.allclose(video, expected, atol=1e-5)
    assert end.context.equal(torch.cat([state.context, video], 1)[:, -2:]) and (end.step == 1).all()
    assert simulator.denoiser_calls == 2
    _, still = simulator.imagine(state, torch.zeros(2, 4, 4))
    assert not torch.allclose(video, still.latents, atol=1e-2)  # no action is not the action zero
    _, other = synthesis.imagine(state, SUB_GOALS[::-1], 4)
    assert not torch.allclose(video, other, atol=1e-2)


def test_an_anchor_moves_to_the_end_of_the_video(checkpoint):
    synthesis = Synthesis(checkpoint.simulator(2, exact=True, anchor_every=3), checkpoint.inverse())
    simulator = synthesis.simulator
    end, video = synthesis.imagine(simulator.imagine(begin(synthesis), torch.ones(2, 1, 4))[0], SUB_GOALS, 4)
    assert end.anchor.context.equal(video[:, -2:]) and not end.anchor.taken.any()
    actions = torch.linspace(-1, 1, 24).view(2, 3, 4)
    whole = simulator.imagine(end, actions)[1].latents
    plain = simulator.imagine(replace(end, anchor=None), actions)[1].latents
    assert torch.allclose(whole, plain, atol=1e-5)
    state = end
    for t in range(3):
        state, newest = simulator.imagine(state, actions[:, t : t + 1])
    assert torch.allclose(newest.latents, whole[:, -1:], atol=1e-4)


def test_any_text_will_do_and_does_not_change_its_neighbours(synthesis):
    state = begin(synthesis)
    _, alone = synthesis.imagine(synthesis.simulator.select(state, [0]), SUB_GOALS[:1], 3)
    _, both = synthesis.imagine(
        state, [SUB_GOALS[0], "lift everything that you see and then wait for further words"], 3
    )
    assert torch.allclose(alone[0], both[0], atol=1e-5)
    assert both.isfinite().all()


def test_large_batches_are_split(synthesis, monkeypatch):
    state = begin(synthesis)
    _, whole = synthesis.imagine(state, SUB_GOALS, 3)
    monkeypatch.setattr("sfvgen_plan.simulator.MOST_SEQUENCES", 64)
    _, split = synthesis.imagine(state, SUB_GOALS, 3)
    assert torch.allclose(whole, split, atol=1e-5)


def test_what_was_remembered_changes_the_video(synthesis):
    simulator, state = synthesis.simulator, begin(synthesis)
    actions = np.zeros((2, 2, 4), np.float32)
    learned = simulator.remember_frames([None, None], FRAMES[:2], actions, ["memory/return"] * 2, [7, 8])
    _, fresh = synthesis.imagine(state, SUB_GOALS, 3)
    _, told = synthesis.imagine(simulator.recall(state, [learned[0], None]), SUB_GOALS, 3)
    assert not torch.allclose(fresh[0], told[0], atol=1e-3)
    assert torch.allclose(fresh[1], told[1], atol=1e-5)


def test_actions_are_those_between_consecutive_frames(synthesis):
    state = begin(synthesis)
    video = torch.randn(2, 3, 4, 8, 8)
    found = synthesis.actions(state, video)
    frames = torch.cat([state.context[:, -1:], video], 1)
    for t in range(3):
        assert torch.allclose(found[:, t], synthesis.inverse(frames[:, t : t + 2]).clamp(-1, 1), atol=1e-5)
    assert found.abs().max() <= 1


def test_the_agent_plays_and_counts(folder):
    agent = make_agent("video", folder, settings={"replan_every": 2, "sampler_steps": 2, "horizon": 4})
    actions = play(agent, [0, 1])
    assert actions.shape == (3, 2, 4) and np.abs(actions).max() <= 1
    cost = agent.stats(1)
    assert (cost.denoiser_calls, cost.imagined_decisions) == (4, 8)  # a plan for decision 0, another for decision 2


def test_lanes_are_independent_and_episodes_repeat(checkpoint):
    settings = {"replan_every": 1, "memory_every": 1, "videos": 2}
    together = play(make_agent("video", checkpoint, settings=settings), [0, 1, 2])
    alone = play(make_agent("video", checkpoint, settings=settings), [1])
    assert np.allclose(together[:, 1], alone[:, 0], atol=0.02)
    agent = make_agent("video", checkpoint, settings=settings)
    assert np.array_equal(play(agent, [1]), play(agent, [1]))


def test_fast_learning_goes_on_across_sub_goals(checkpoint):
    settings = {"replan_every": 1, "memory_every": 1}
    agent = make_agent("video", checkpoint, settings=settings)
    short = SimpleNamespace(split=lambda *episode: tuple((text, 1) for text in [*SUB_GOALS, "wait"]))
    agent.planner = replace(agent.planner, sub_goals=short)
    play(agent, [0])
    assert agent.lanes[0].memory.steps.item() == 2 * memory_of_row("full").steps
    agent.reset([0], ["memory/return"], [10])
    assert agent.lanes[0].memory is None
    for changes in ({"memory": False}, {"row": "no_temp_lora"}):
        without = make_agent("video", checkpoint, settings=settings | changes)
        play(without, [0])
        assert without.lanes[0].memory is None


@pytest.mark.parametrize(
    ("row", "context"), [("no_loop", 2), ("original_temp_lora", 2), ("no_local_rule", 2), ("no_chunk_input", 1)]
)
def test_rows_of_the_ablation_play(row, context, checkpoint):
    agent = make_agent("video", checkpoint, settings={"row": row, "replan_every": 1, "memory_every": 2})
    assert np.isfinite(play(agent, [0, 1])).all()
    assert agent.lanes[0].memory is not None
    assert agent.planner.synthesis.simulator.context_frames == context


def test_without_the_local_rule_all_frames_since_the_start_are_learnt_from(checkpoint, monkeypatch):
    agent = make_agent("video", checkpoint, settings={"row": "no_local_rule", "replan_every": 1, "memory_every": 2})
    shown, remember = [], LearnedSimulator.remember_frames
    monkeypatch.setattr(
        LearnedSimulator, "remember_frames", lambda s, *given: shown.append(given) or remember(s, *given)
    )
    frames = np.random.default_rng(1).integers(0, 255, (2, 7, 32, 32, 3), np.uint8)
    for t in range(7):  # lane 1 starts two decisions later
        lanes = [0, 1] if t >= 2 else [0]
        started = [lane for lane in lanes if t == 2 * lane]
        agent.reset(started, ["memory/return"] * len(started), started)
        agent.act(lanes, np.stack([frames[lane, t - 2 * lane] for lane in lanes]))
    episodes = [(int(given[4][0]), given[1][0], given[2].shape[1]) for given in shown]
    assert [(lane, len(seen), decisions) for lane, seen, decisions in episodes] == [
        (0, 3, 2),
        (0, 5, 2),
        (1, 3, 2),
        (0, 7, 2),
        (1, 5, 2),
    ]
    assert all(np.array_equal(seen, frames[lane, : len(seen)]) for lane, seen, _ in episodes)
    assert agent.lanes[0].memory.steps.item() == 3 * memory_of_row("full").steps


def test_each_decision_asks_for_its_sub_goal(checkpoint, monkeypatch):
    agent = make_agent("video", checkpoint, settings={"replan_every": 1, "memory": False})
    asked, imagine = [], Synthesis.imagine
    monkeypatch.setattr(
        Synthesis, "imagine", lambda s, state, texts, n: asked.append(texts) or imagine(s, state, texts, n)
    )
    agent.reset([0, 1], ["memory/return", "reach-v3"], [10, 11])
    schedule = sub_goals_of("memory/return", 10)
    first = schedule[0][1]
    for decision in (0, first - 1, first):
        for lane in (0, 1):
            agent.lanes[lane].decision = decision
        agent.act([0, 1], FRAMES[:2, 0])
    assert asked == [[schedule[n][0], TASKS["reach-v3"]] for n in (0, 0, 1)]


def test_of_several_videos_the_one_valued_most_is_followed(checkpoint, monkeypatch):
    agent = make_agent("video", checkpoint, settings={"videos": 3, "memory": False, "replan_every": 1})
    value = torch.tensor([[0.1], [0.9], [0.2], [0.0], [0.1], [0.7]])
    monkeypatch.setattr(agent.planner.synthesis.simulator, "read", lambda ends: SimpleNamespace(value=value))
    plans, actions = [], Synthesis.actions
    monkeypatch.setattr(Synthesis, "actions", lambda s, *given: plans.append(actions(s, *given)) or plans[-1])
    played = play(agent, [0, 1], decisions=1)[0]
    assert np.allclose(played, plans[0][[1, 5], 0].numpy())
    assert not np.allclose(played, plans[0][[0, 3], 0].numpy())


def test_checkpoints_that_lack_what_it_needs(small_checkpoint, checkpoint):
    with pytest.raises(UserError, match=r"no inverse dynamics model.*sfvgen-plan train .*add=inverse"):
        make_agent("video", small_checkpoint)
    with pytest.raises(UserError, match="without the texts of sub-goals"):
        make_agent("video", replace(checkpoint, card=replace(checkpoint.card, sub_goals=[])))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"horizon": 31}, "horizon=31 must be at least 1 and at most 30"),
        ({"videos": 0}, "videos=0"),
        ({"sub_goals": "rules"}, "sub_goals='rules' is unknown"),
        ({"memory_every": 0}, "memory_every=0 must be at least 1"),
    ],
)
def test_settings_that_cannot_work(settings, message, checkpoint):
    with pytest.raises(UserError, match=message):
        make_agent("video", checkpoint, settings=settings)


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
    assert agent.planner.sub_goals.asked == [("memory/return", FRAMES.shape[2:])]
    for answer in ((), None, ["go"], [("go", 0)]):
        agent.planner.sub_goals.answer = answer
        with pytest.raises(UserError, match="is no split of 'memory/return'"):
            play(agent, [0])


def test_sub_goals_follow_each_other_and_the_last_one_stays():
    assert [text_at((("left", 4), ("back", 2)), decision) for decision in (0, 3, 4, 99)] == ["left"] * 2 + ["back"] * 2
