"""How near does an agent come to what only its memory tells? Episodes of ``memory/return`` and ``memory/cue``, in the
true simulator."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sfvgen_plan.agents.adapters import kind_of
from sfvgen_plan.agents.registry import POLICY_PREFIX, make_agent, needs_checkpoint, settings_of
from sfvgen_plan.benchmarks.memory.subjects import Subject
from sfvgen_plan.envs.memory.base import MemoryEnv
from sfvgen_plan.envs.memory.make import make_memory
from sfvgen_plan.model.checkpoint import Checkpoint

Scores = dict[str, float | bool]
"""Of an episode, at its end. distance_m: in return the mean over objects, metres from the earlier place, where one that
was never moved away counts with what it should have been moved; in cue from the hand to the right block, to the side.
success_5cm: every object was moved and is back within 5 cm; the hand is as near to the block."""


def real_env(checkpoint: Checkpoint, task: str) -> MemoryEnv:
    """The true simulator with the checkpoint's frames.

    Raises:
        UserError: it was not trained on the task.
    """
    checkpoint.task_index(task)
    env = make_memory(task, size=checkpoint.size, camera=checkpoint.camera, repeat=checkpoint.repeat)
    assert isinstance(env, MemoryEnv)
    return env


def may_remember(agent: str) -> bool:
    """Whether the agent has a setting ``memory``, as every ``module:factory`` is said to, and ``sb3:`` agents that see
    frames through a checkpoint."""
    if agent.startswith(POLICY_PREFIX):
        return needs_checkpoint(agent)
    return ":" in agent or hasattr(settings_of(agent), "memory")


def agent_of(name: str, subject: Subject, settings: Mapping[str, Any]) -> Any:
    """The agent, which remembers or not as the subject does; ``settings`` are other changes to its settings.

    Raises:
        UserError: what ``make_agent`` refuses.
    """
    own = {"memory": subject.remembers} if may_remember(name) else {}
    checkpoint = subject.checkpoint
    return make_agent(name, checkpoint, str(checkpoint.pipeline.device), 0, {**settings, **own})


def play(agent: Any, envs: Sequence[MemoryEnv], seeds: Sequence[int]) -> Iterator[tuple[int, Scores]]:
    """Episodes to their ends, each given with its seed as soon as it is over.

    Args:
        agent: a ``BatchAgent``, which decides for an episode in each of ``envs`` at once; or an ``EnvAgent``, which
            plays one after the other in the first of them.
        envs: places to play in, of one task; an episode doesn't depend on how many.
        seeds: of the episodes.
    """
    if kind_of(agent) == "env":
        for seed in seeds:
            yield seed, _play_beside(agent, envs[0], seed)
        return
    waiting = deque(seeds)
    playing: dict[int, int] = {}
    frames: dict[int, np.ndarray] = {}
    while waiting or playing:
        free = [lane for lane in range(len(envs)) if lane not in playing]
        started = [(lane, waiting.popleft()) for lane in free[: len(waiting)]]
        for lane, seed in started:
            frames[lane], _ = envs[lane].reset(seed=seed)
            playing[lane] = seed
        if started:
            agent.reset([lane for lane, _ in started], [envs[0].task] * len(started), [seed for _, seed in started])
        lanes = sorted(playing)
        actions = np.asarray(agent.act(lanes, np.stack([frames[lane] for lane in lanes])))
        for lane, action in zip(lanes, actions, strict=True):
            frames[lane], _, _, truncated, info = envs[lane].step(action)
            if truncated:
                yield playing.pop(lane), _scores(info)


def _play_beside(agent: Any, env: MemoryEnv, seed: int) -> Scores:
    _, info = env.reset(seed=seed)
    agent.reset(env.task, seed)
    truncated = False
    while not truncated:
        *_, truncated, info = env.step(agent.act(env))
    return _scores(info)


def _scores(info: Mapping[str, Any]) -> Scores:
    return {"distance_m": float(info["distance"]), "success_5cm": bool(info["success"])}
