"""How far from their places do objects end up? Episodes of ``memory/return``, played in the true simulator."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sfvgen_plan.agents.adapters import kind_of
from sfvgen_plan.agents.registry import make_agent, settings_of
from sfvgen_plan.envs.memory.make import make_memory
from sfvgen_plan.envs.memory.return_env import MemoryReturnEnv
from sfvgen_plan.envs.memory.return_task import NAME, SUCCESS_DISTANCE
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import Checkpoint


@dataclass(frozen=True)
class ReturnScores:
    """One episode of one row.

    Attributes:
        distance_m: mean over objects, metres from the earlier place, at the end; an object that was never moved away
            counts with what it should have been moved.
        success_5cm: every object was moved and is back within ``SUCCESS_DISTANCE``.
    """

    distance_m: float
    success_5cm: bool


def return_env(checkpoint: Checkpoint) -> MemoryReturnEnv:
    """The true simulator with the checkpoint's frames.

    Raises:
        UserError: it was not trained on the task.
    """
    checkpoint.task_index(NAME)
    env = make_memory(NAME, size=checkpoint.size, camera=checkpoint.camera, repeat=checkpoint.repeat)
    assert isinstance(env, MemoryReturnEnv)
    return env


def check_remembers(name: str) -> None:
    """UserError for an agent without a memory, of which all rows would be the same."""
    settings_of(name)
    if ":" not in name and not hasattr(settings_of(name), "row"):
        raise UserError(f"agent={name!r} remembers nothing, so the rows don't differ; play it with sfvgen-plan eval")


def agent_of_row(name: str, row: str, checkpoint: Checkpoint, settings: Mapping[str, Any]) -> Any:
    """The agent, with the row's memory: its settings ``memory`` and ``row``, which every ``module:factory`` is given.

    Args:
        settings: other changes to its settings.

    Raises:
        UserError: unknown agent, one that uses no model, or one that can't play the row.
    """
    check_remembers(name)
    device = str(checkpoint.pipeline.device)
    return make_agent(name, checkpoint, device, 0, {**settings, "memory": True, "row": row})


def play(agent: Any, envs: Sequence[MemoryReturnEnv], seeds: Sequence[int]) -> Iterator[tuple[int, ReturnScores]]:
    """Episodes to their ends, each given with its seed as soon as it is over.

    Args:
        agent: a ``BatchAgent``, which decides for an episode in each of ``envs`` at once; or an ``EnvAgent``, which
            plays one after the other in the first of them.
        envs: places to play in; an episode doesn't depend on how many.
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
            agent.reset([lane for lane, _ in started], [NAME] * len(started), [seed for _, seed in started])
        lanes = sorted(playing)
        actions = np.asarray(agent.act(lanes, np.stack([frames[lane] for lane in lanes])))
        for lane, action in zip(lanes, actions, strict=True):
            frames[lane], _, _, truncated, info = envs[lane].step(action)
            if truncated:
                yield playing.pop(lane), _scores(info)


def _play_beside(agent: Any, env: MemoryReturnEnv, seed: int) -> ReturnScores:
    _, info = env.reset(seed=seed)
    agent.reset(NAME, seed)
    truncated = False
    while not truncated:
        *_, truncated, info = env.step(agent.act(env))
    return _scores(info)


def _scores(info: Mapping[str, Any]) -> ReturnScores:
    return ReturnScores(float(info["distance"]), bool((info["distances"] <= SUCCESS_DISTANCE).all()))
