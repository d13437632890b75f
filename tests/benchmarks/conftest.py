"""Untrained models of the memory tasks with an episode to revisit, and an untrained encoder of videos."""

from dataclasses import replace

import pytest


@pytest.fixture(scope="session")
def make_memory_folder(make_checkpoint):
    """Function that makes the folder of an untrained checkpoint of the memory tasks; ``memory`` is its kind, None for
    one without."""
    from sfvgen_plan.envs.memory.family import TASKS

    def make(memory):
        layers = {"memory": memory, "memory_blocks": [0], "memory_rank": 8} if memory else {}
        texts = ("reach the red goal", "push the puck to the green goal", "open the drawer")
        network = {"dim": 16, "depth": 1, "conditioning": 8, **layers}
        return make_checkpoint(dict(zip(TASKS, texts, strict=True)), 0.3, network, camera="own")

    return make


@pytest.fixture(scope="session")
def memory_folder(make_memory_folder):
    """Folder of one with a Temp-LoRA; don't change it."""
    return make_memory_folder("lora")


@pytest.fixture(scope="session")
def memory_checkpoint(memory_folder):
    from sfvgen_plan.model.checkpoint import load_checkpoint

    return load_checkpoint(memory_folder)


@pytest.fixture(scope="session")
def episode(memory_checkpoint):
    """Of ``memory/revisit``, with revisits at least 10 frames apart; don't change it."""
    from sfvgen_plan.benchmarks.memory.revisit import true_episodes

    (found,) = true_episodes(memory_checkpoint, [3], 10)
    return found


@pytest.fixture(scope="session")
def played():
    """Episodes of ``short_episodes`` by their seeds."""
    return {}


@pytest.fixture
def short_episodes(monkeypatch, played):
    """Episodes of ``memory/revisit`` end 33 decisions after the turning point."""
    from sfvgen_plan.benchmarks.memory import revisit

    play = revisit.true_episodes

    def short(checkpoint, seeds, away, lanes=1):
        for whole in play(checkpoint, [seed for seed in seeds if seed not in played], 2):
            end = whole.seen + 33
            played[whole.seed] = replace(
                whole,
                frames=whole.frames[: end + 1],
                actions=whole.actions[:end],
                pairs=whole.pairs[whole.pairs[:, 1] <= end],
            )
        return [played[seed] for seed in seeds]

    monkeypatch.setattr(revisit, "true_episodes", short)
