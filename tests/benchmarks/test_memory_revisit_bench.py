"""Episodes of ``memory/revisit``: what is shown, what counts as a revisit, and what each row imagines."""

from dataclasses import replace

import numpy as np
import pytest

from sfvgen_plan.benchmarks.memory import returning as memory_return
from sfvgen_plan.benchmarks.memory import revisit as memory_revisit
from sfvgen_plan.benchmarks.memory.revisit import imagine, imagine_all
from sfvgen_plan.envs.memory.tasks import make_memory
from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.rows import ROWS, simulator_of_row
from sfvgen_plan.model.checkpoint import load_checkpoint

CHUNK = 8


def test_the_first_way_out_is_shown_and_revisits_of_it_are_known(episode):
    env = make_memory("memory/revisit", size=32, pixels=False)
    env.reset(seed=3)
    places = env.layout.places
    assert len(episode.frames) == len(places) == len(episode.actions) + 1
    assert np.allclose(places[episode.seen + 1], places[episode.seen - 1], atol=1e-6), "the turning point"
    assert 10 <= episode.seen <= 20
    assert len(episode.known) >= 10
    for first, again in episode.known:
        assert first <= episode.seen < again
        assert again - first >= CHUNK + 2
        assert np.allclose(places[first], places[again], atol=1e-6)
        assert np.abs(episode.frames[first].astype(int) - episode.frames[again]).max() <= 3


def test_a_camera_that_never_leaves_is_refused(memory_checkpoint):
    fixed = replace(memory_checkpoint, card=replace(memory_checkpoint.card, camera="corner4"))
    with pytest.raises(UserError, match="never leaves"):
        memory_revisit.revisit_env(fixed)


def test_other_tasks_are_refused(small_checkpoint):
    other = load_checkpoint(small_checkpoint)
    with pytest.raises(UserError, match="memory/revisit"):
        memory_revisit.revisit_env(other)
    with pytest.raises(UserError, match="memory/return"):
        memory_return.return_env(other)


def of_row(checkpoint, row):
    """The row's simulator, which takes one learning step a chunk."""
    simulator = simulator_of_row(checkpoint, row, sampler_steps=1, exact=True)
    if simulator.fast_learning is not None:
        simulator.fast_learning = replace(simulator.fast_learning, steps=1)
    return simulator


@pytest.mark.parametrize("row", ROWS)
def test_every_row_plays(memory_checkpoint, episode, row):
    simulator = of_row(memory_checkpoint, row)
    short = replace(episode, frames=episode.frames[: episode.seen + 13], actions=episode.actions[: episode.seen + 12])
    first, again = imagine(simulator, short, 24), imagine(simulator, short, 24)
    assert first.frames.shape == (12, 32, 32, 3)
    assert np.array_equal(first.frames, again.frames), "the same seed, the same dream"


@pytest.mark.parametrize("row", [row for row in ROWS if row != "no_loop"])
def test_episodes_in_one_batch_come_out_as_alone(memory_checkpoint, episode, row):
    """Of different lengths, seen and imagined, one of which ends with a whole chunk."""
    simulator = of_row(memory_checkpoint, row)

    def cut(seed, seen, rest):
        end = seen + rest
        return replace(episode, seed=seed, seen=seen, frames=episode.frames[: end + 1], actions=episode.actions[:end])

    episodes = [cut(1, 9, 11), cut(2, 6, 8), cut(3, 8, 3), cut(4, 9, 17)]
    together = imagine_all(simulator, episodes, CHUNK)
    for one, dream in zip(episodes, together, strict=True):
        alone = imagine(simulator, one, CHUNK)
        assert len(dream.frames) == len(one.actions) - one.seen
        assert np.abs(dream.frames.astype(int) - alone.frames).max() <= 1
        np.testing.assert_allclose(dream.estimates, alone.estimates, atol=1e-4)


def test_what_was_seen_early_reaches_the_dream_only_through_memory(memory_checkpoint, episode):
    """Without memory the first frames don't matter; with a fast memory they do."""
    from sfvgen_plan.memory.learning import FastLearning

    changed = episode.frames.copy()
    changed[:CHUNK] = 255 - changed[:CHUNK]
    end = episode.seen + 9
    plain = replace(episode, frames=episode.frames[:end], actions=episode.actions[: end - 1])
    other = replace(plain, frames=changed[:end])
    for memory, same in ((None, True), (FastLearning(learning_rate=0.05), False)):
        simulator = memory_checkpoint.simulator(1, memory, exact=True)
        assert np.array_equal(imagine(simulator, plain).frames, imagine(simulator, other).frames) == same
