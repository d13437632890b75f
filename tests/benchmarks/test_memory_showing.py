"""Which frames a simulator is shown and asked for, under each rule of learning."""

import numpy as np
import pytest
import torch

from sfvgen_plan.benchmarks.memory.revisit import imagine, show
from sfvgen_plan.memory.learning import FastLearning
from sfvgen_plan.simulation import Outcome

CHUNK = 8


class Recorder:
    """A simulator that notes what it is shown, and imagines the truth."""

    device = torch.device("cpu")

    def __init__(self, episode, rule, context_frames=2):
        self.episode, self.context_frames = episode, context_frames
        window = 10 if rule == "whole" else None
        self.fast_learning = None if rule is None else FastLearning(rule=rule, window=window)
        self.learned, self.begun, self.calls = [], None, []

    def _when(self, frames):
        """Which frames of the episode these are."""
        return [int(np.flatnonzero((self.episode.frames == frame).all((1, 2, 3)))[0]) for frame in frames[0]]

    def remember_frames(self, memories, frames, actions, tasks, seeds):
        assert (tasks, seeds) == (["memory/revisit"], [self.episode.seed])
        self.learned.append((memories, self._when(frames), actions.shape[1]))
        return [f"after {len(self.learned)}"]

    def begin(self, frames, tasks, seeds):
        self.begun = self._when(frames)
        return self.episode.seen

    def recall(self, state, memories):
        assert memories == [f"after {len(self.learned)}"]
        return state

    def imagine(self, state, actions):
        count = actions.shape[1]
        self.calls.append(count)
        assert (actions[0].numpy() == self.episode.actions[state : state + count]).all()
        frames = slice(state + 1, state + count + 1)
        none = torch.zeros(1, count)
        estimates = torch.from_numpy(self.episode.estimates[frames])[None]
        return state + count, Outcome(none, none, none, estimates, torch.from_numpy(self.episode.frames[frames])[None])

    def remember(self, state):
        self.calls.append("remember")
        return state

    def decode(self, latents):
        return latents.numpy()


def test_without_memory_only_the_clean_frames(episode):
    simulator = Recorder(episode, None)
    show(simulator, [episode], CHUNK)
    assert simulator.begun == [episode.seen - 1, episode.seen]
    assert not simulator.learned
    dream = imagine(simulator, episode, CHUNK)
    assert "remember" not in simulator.calls
    assert (dream.frames == episode.frames[episode.seen + 1 :]).all()


@pytest.mark.parametrize(("rule", "context"), [("local", 2), ("output", 2), ("local", 1)])
def test_chunks_are_learned_behind_their_input(episode, rule, context):
    simulator = Recorder(episode, rule, context)
    show(simulator, [episode], CHUNK)
    start = 0
    for number, (memories, frames, actions) in enumerate(simulator.learned):
        assert memories == ([None] if number == 0 else [f"after {number}"])
        stop = min(start + CHUNK, episode.seen)
        assert frames == list(range(max(0, start + 1 - context), stop + 1))
        assert actions == stop - start
        start = stop
    assert start == episode.seen


def test_the_rule_whole_is_given_everything(episode):
    simulator = Recorder(episode, "whole")
    show(simulator, [episode], CHUNK)
    assert [frames[0] for _, frames, _ in simulator.learned] == [0] * len(simulator.learned)
    assert simulator.begun == list(range(episode.seen + 1))


def test_imagined_chunks_are_learned_too(episode):
    simulator = Recorder(episode, "local")
    dream = imagine(simulator, episode, CHUNK)
    left = len(episode.actions) - episode.seen
    assert simulator.calls[::2] == [min(CHUNK, left - start) for start in range(0, left, CHUNK)]
    assert set(simulator.calls[1::2]) == {"remember"}
    assert (dream.estimates == episode.estimates[episode.seen + 1 :]).all()
