"""Training Stable-Baselines3 agents where nothing is real but the first frame; to compare, in the real simulator."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from sfvgen_plan.agents.algorithms import TrainingSettings, check_algorithm
from sfvgen_plan.agents.resume import SavedStates
from sfvgen_plan.agents.sb3 import ORIGIN
from sfvgen_plan.data.seeds import FIRST_TRAINING_SEED
from sfvgen_plan.devices import cpu_cores
from sfvgen_plan.envs.family import family_of
from sfvgen_plan.envs.observation import Observer
from sfvgen_plan.envs.sb3 import ImaginedVecEnv
from sfvgen_plan.envs.sb3_real import CheckpointVecEnv, RealVecEnv
from sfvgen_plan.envs.vector import ImaginedVectorEnv
from sfvgen_plan.errors import UserError
from sfvgen_plan.io import atomic
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.nested import flat

logger = logging.getLogger(__name__)

MODELS = {"ppo": PPO, "sac": SAC, "td3": TD3}

AGENT_FILE, RECORD_FILE, STATES_FOLDER = "agent.zip", "train.json", "agent.state"
"""In the folder of an agent: its policy, how it was trained, and while that goes on, what a killed training needs."""

Progress = Callable[[int, dict[str, float]], None]
"""Told of the decisions taken so far, and of what the latest episodes were like."""


def environments(settings: TrainingSettings, task: str, checkpoint: Checkpoint) -> VecEnv:
    """The environments, from the checkpoint's bank of real start frames; real ones from scenes of their own.

    Raises:
        UserError: what the environments refuse.
    """
    scale = 1 / checkpoint.card.reward_scale if settings.reward_scale is None else settings.reward_scale
    if settings.real:
        family = family_of(task)
        task = family.canonical(task)
        checkpoint.task_index(task)
        observer = Observer(checkpoint.simulator(memory=settings.memory), settings.obs_mode)
        frames = {"size": checkpoint.size, "camera": checkpoint.camera, "repeat": checkpoint.repeat}
        make = partial(family.make, task, **frames, max_decisions=settings.horizon)
        real = RealVecEnv(make, settings.num_envs, cpu_cores(), scale)
        return real if settings.obs_mode == "pixels" else CheckpointVecEnv(real, task, observer)
    vector = ImaginedVectorEnv(
        settings.num_envs,
        task,
        checkpoint,
        autoreset_mode="SameStep",
        obs_mode=settings.obs_mode,
        max_decisions=settings.horizon,
        sampler_steps=settings.sampler_steps,
        memory=settings.memory,
        futures=settings.futures,
    )
    return ImaginedVecEnv(vector, scale, settings.uncertainty_penalty)


def train(
    folder: Path,
    algorithm: str,
    task: str,
    checkpoint: Checkpoint,
    settings: TrainingSettings,
    hyperparameters: Mapping[str, Any],
    seed: int = 0,
    progress: Progress | None = None,
    command: str = "",
    start: Path | None = None,
) -> Path:
    """Train an agent into ``folder``: ``agent.zip``, and ``train.json``, which says how it was trained.

    What was learned is saved also when Ctrl-C ends it early. A run in imagination that was killed goes on from its last
    state when it is called again, and ends as it would have without the kill, to the bit. A run in the real simulator,
    whose scenes are none of those kept for evaluation, begins anew. An agent that is trained already is left as it is.

    Args:
        folder: made here, when nothing was refused and learning begins.
        algorithm: one of ``sfvgen_plan.agents.algorithms.ALGORITHMS``.
        task: the checkpoint's name of it.
        hyperparameters: of the algorithm, by Stable-Baselines3's names; ``net_arch`` and ``noise`` apart.
        seed: of the algorithm and of the first episodes.
        command: what made it, for the record.
        start: zip of an agent whose networks it begins with; None: new ones.

    Returns:
        The zip file.

    Raises:
        UserError: an unknown algorithm, numbers that make no sense, or a folder with another training.
    """
    check_algorithm(algorithm)
    record: dict[str, Any] = {
        "algo": algorithm,
        "task": task,
        "seed": seed,
        "checkpoint": checkpoint.hash,
        "settings": {**asdict(settings), "algo": dict(hyperparameters)},
        "command": command,
    }
    states = SavedStates(folder / STATES_FOLDER, 0 if settings.real else settings.save_every)
    before = _checked_record(folder, record)
    if is_trained(folder):
        return folder / AGENT_FILE
    with closing(VecMonitor(environments(settings, task, checkpoint))) as environment:
        report = _Report(progress, states, environment)
        if states.newest() is not None:
            record = before  # the command that it began with, and its seconds
            model = states.load(MODELS[algorithm], environment, settings.policy_device)
            logger.info("going on with the training in %s at decision %d", states.folder, model.num_timesteps)
        else:
            model = _begun(algorithm, environment, settings, hyperparameters, seed, start)
            seen = {"obs_mode": settings.obs_mode, "memory": settings.memory}
            setattr(model, ORIGIN, {"checkpoint": checkpoint.hash, "task": task, **seen})
        if settings.real:
            environment.seed(FIRST_TRAINING_SEED + seed * settings.num_envs)
        _write_record(folder, record)
        states.begin()
        started = time.monotonic()
        try:
            left = settings.decisions - model.num_timesteps
            model.learn(left, callback=report, reset_num_timesteps=not model.num_timesteps)
        finally:
            with atomic(folder / AGENT_FILE, "out") as staged:
                model.save(staged)
            seconds = record.get("seconds", 0.0) + time.monotonic() - started
            _write_record(folder, record | {"decisions": model.num_timesteps, "seconds": round(seconds, 1)})
    states.finish()
    return folder / AGENT_FILE


def is_trained(folder: Path) -> bool:
    """Whether ``folder`` has an agent whose training has come to its end."""
    record = read_record(folder)
    there = (folder / AGENT_FILE).exists() and not (folder / STATES_FOLDER).exists()
    return there and record.get("decisions", 0) >= record.get("settings", {}).get("decisions", math.inf)


def read_record(folder: Path) -> dict[str, Any]:
    """What ``train.json`` says of an agent's training; empty if there is none."""
    try:
        found = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_record(folder: Path, record: Mapping[str, Any]) -> None:
    with atomic(folder / RECORD_FILE, "out") as staged:
        staged.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _checked_record(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of the training in ``folder``, which has to be the same; empty if there is none.

    Raises:
        UserError: it is another one, or nobody knows which.
    """
    if not (folder / AGENT_FILE).exists() and not (folder / STATES_FOLDER).exists():
        return {}
    there = read_record(folder)
    if not there:
        raise UserError(f"out={str(folder)!r} has an agent without a readable {RECORD_FILE}; give another folder")
    names = ("algo", "task", "seed", "checkpoint", "settings")
    theirs, ours = (flat(json.loads(json.dumps({name: of.get(name) for name in names}))) for of in (there, record))
    for name in [*ours, *theirs]:
        if theirs.get(name) != ours.get(name):
            raise UserError(
                f"{name.removeprefix('settings.')}={ours.get(name)!r}, but the training in {str(folder)!r} has "
                f"{theirs.get(name)!r}; give that, another folder, or remove this one"
            )
    return there


def _begun(
    algorithm: str,
    environment: VecMonitor,
    settings: TrainingSettings,
    given: Mapping[str, Any],
    seed: int,
    start: Path | None,
) -> Any:
    """A model that has taken no decision yet: a new one, or that of the zip ``start``."""
    if start is not None:
        model = MODELS[algorithm].load(start, environment, device=settings.policy_device)
        model.num_timesteps = 0
        model.set_random_seed(seed)
        return model
    own = dict(given)
    policy = {"net_arch": list(own.pop("net_arch"))} if "net_arch" in own else {}
    noise = own.pop("noise", None)
    if noise is not None:
        shape = environment.action_space.shape or ()
        own["action_noise"] = NormalActionNoise(np.zeros(shape), np.full(shape, float(noise)))
    # What is not an image goes through no convolutions.
    kind = "CnnPolicy" if settings.obs_mode == "pixels" else "MlpPolicy"
    common = {"policy_kwargs": policy, "seed": seed, "device": settings.policy_device}
    try:
        return MODELS[algorithm](kind, environment, **common, **own)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"algo={algorithm!r} refuses its settings: {' '.join(str(error).split())}") from error


class _Report(BaseCallback):
    """Passes progress on, with the means of the latest episodes, and has states saved between rollouts."""

    def __init__(self, progress: Progress | None, states: SavedStates, environment: VecMonitor) -> None:
        super().__init__()
        self._tell, self._states, self._environment = progress, states, environment

    def _on_rollout_start(self) -> None:
        self._states.save_if_due(self.model, self._environment)

    def _on_step(self) -> bool:
        if self._tell is not None:
            returns = [episode["r"] for episode in self.model.ep_info_buffer or []]
            latest = {"return": returns, "success": list(self.model.ep_success_buffer or [])}
            self._tell(self.num_timesteps, {name: float(np.mean(of)) for name, of in latest.items() if of})
        return True
