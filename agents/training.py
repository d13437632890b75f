"""Training Stable-Baselines3 agents where nothing is real but the first frame; to compare, in the real simulator."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from sfvgen_plan.agents.resume import SavedStates
from sfvgen_plan.agents.sb3 import ORIGIN
from sfvgen_plan.data.seeds import FIRST_TRAINING_SEED
from sfvgen_plan.devices import cpu_cores
from sfvgen_plan.envs.decisions import check_at_least_one
from sfvgen_plan.envs.metaworld import MetaworldEnv
from sfvgen_plan.envs.observation import Observer
from sfvgen_plan.envs.sb3 import ImaginedVecEnv
from sfvgen_plan.envs.sb3_real import CheckpointVecEnv, RealVecEnv
from sfvgen_plan.envs.simulators import METAWORLD, simulator_of
from sfvgen_plan.envs.vector import ImaginedVectorEnv
from sfvgen_plan.errors import UserError, unknown_name
from sfvgen_plan.model.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

ALGORITHMS = {"ppo": PPO, "sac": SAC, "td3": TD3}

Progress = Callable[[int, dict[str, float]], None]
"""Told of the decisions imagined so far, and of what the latest episodes were like."""


ONLY_IMAGINED = ("sampler_steps", "memory", "futures", "uncertainty_penalty")
"""What ``Playing`` says of imagination, and means nothing in the real simulator."""


@dataclass(frozen=True)
class Playing:
    """How episodes are played for training; the fields are explained in ``configs/train_agent.yaml``.

    Raises:
        UserError: ``real``, together with what only imagination has; a number that makes no sense.
    """

    real: bool = False
    obs_mode: str = "state"
    num_envs: int = 32
    horizon: int = 50
    sampler_steps: int = 3
    memory: bool = False
    reward_scale: float = 0.1
    futures: int = 1
    uncertainty_penalty: float = 0.0

    def __post_init__(self) -> None:
        check_at_least_one(num_envs=self.num_envs, horizon=self.horizon)
        for name in ("reward_scale", "uncertainty_penalty"):
            if not math.isfinite(getattr(self, name)):
                raise UserError(f"{name}={getattr(self, name)} is no finite number; give one")
        for field in fields(self):
            value = getattr(self, field.name)
            if self.real and field.name in ONLY_IMAGINED and value != field.default:
                raise UserError(
                    f"{field.name}={value} has no meaning with real=True, as only imagination has it; "
                    f"leave it at {field.default}, or learn with real=False"
                )

    def environment(self, task: str, checkpoint: Checkpoint) -> VecEnv:
        """The environments, from the checkpoint's bank of real start frames; real ones from scenes of their own.

        Raises:
            UserError: what ``ImaginedVectorEnv``, ``ImaginedVecEnv`` and ``MetaworldEnv`` refuse.
        """
        if self.real:
            return self._real(task, checkpoint)
        vector = ImaginedVectorEnv(
            self.num_envs,
            task,
            checkpoint,
            autoreset_mode="SameStep",
            obs_mode=self.obs_mode,
            max_decisions=self.horizon,
            sampler_steps=self.sampler_steps,
            memory=self.memory,
            futures=self.futures,
        )
        return ImaginedVecEnv(vector, self.reward_scale, self.uncertainty_penalty)

    def _real(self, task: str, checkpoint: Checkpoint) -> VecEnv:
        if simulator_of(task) is not METAWORLD:
            raise UserError(f"task={task!r} is not of Metaworld, which real=True is for; learn with real=False")
        task = METAWORLD.canonical(task)
        checkpoint.task_index(task)
        observer = Observer(checkpoint.simulator(), self.obs_mode)
        make = partial(MetaworldEnv, task, checkpoint.size, checkpoint.camera, checkpoint.repeat, self.horizon)
        environment = RealVecEnv(make, self.num_envs, cpu_cores(), self.reward_scale)
        return environment if self.obs_mode == "pixels" else CheckpointVecEnv(environment, task, observer)


def train(
    algorithm: str,
    task: str,
    checkpoint: Checkpoint,
    playing: Playing,
    decisions: int,
    settings: Mapping[str, Any],
    out: Path,
    seed: int = 0,
    policy_device: str = "cpu",
    progress: Progress | None = None,
    save_every: int = 0,
    on_begin: Callable[[], None] = lambda: None,
) -> Path:
    """Train an agent and save it; what was learned is saved also when Ctrl-C ends it early.

    With ``save_every``, a run in imagination that was killed goes on from its last state when it is called again, and
    ends as it would have without the kill, to the bit. A run in the real simulator, whose scenes are none of those kept
    for evaluation, begins anew.

    Args:
        algorithm: one of ``ALGORITHMS``.
        decisions: taken in all, rounded up to what the algorithm collects at a time.
        settings: its hyperparameters, by Stable-Baselines3's names; ``net_arch`` and ``noise`` apart.
        out: zip file to write; knows the checkpoint, the task and the observation mode.
        seed: of the algorithm and of the first episodes.
        save_every: decisions between two states, which lie in ``states_of(out)`` until the run has ended; 0: none.
        on_begin: called when nothing was refused and learning begins; before it nothing is written.

    Returns:
        The file.

    Raises:
        UserError: an unknown algorithm, numbers that make no sense, or states of another run.
    """
    if algorithm not in ALGORITHMS:
        raise unknown_name("algo", algorithm, ALGORITHMS)
    check_amounts(decisions, save_every)
    origin = {"checkpoint": checkpoint.hash, "task": task, "obs_mode": playing.obs_mode}
    made = {"algo": algorithm, "decisions": decisions, "seed": seed, **origin, **asdict(playing)}
    states = SavedStates(states_of(out), {**made, "algo settings": dict(settings)}, 0 if playing.real else save_every)
    with closing(VecMonitor(playing.environment(task, checkpoint))) as environment:
        report = _Report(progress, states, environment)
        if states.newest() is not None:
            model, notes = states.load(ALGORITHMS[algorithm], environment, policy_device)
            report.solved = notes["solved"]
            logger.info("going on with the training in %s at decision %d", states.folder, model.num_timesteps)
        else:
            model = _new_model(algorithm, environment, playing.obs_mode, settings, seed, policy_device)
            setattr(model, ORIGIN, origin)
        if playing.real:
            environment.seed(FIRST_TRAINING_SEED + seed * playing.num_envs)
        on_begin()
        out.parent.mkdir(parents=True, exist_ok=True)
        states.begin()
        try:
            model.learn(decisions - model.num_timesteps, callback=report, reset_num_timesteps=not model.num_timesteps)
        finally:
            _save(model, out)
    states.finish()
    return out


def check_amounts(decisions: int, save_every: int) -> None:
    """Refuse what ``train`` would; before a checkpoint is loaded for it.

    Raises:
        UserError: a number that makes no sense.
    """
    if decisions < 1:
        raise UserError(f"decisions={decisions} leaves nothing to learn from; give at least 1")
    if save_every < 0:
        raise UserError(f"save_every={save_every} makes no sense; give 0 to save no states, or more")


def states_of(out: Path) -> Path:
    """Where a training that writes the agent ``out`` keeps its states; the folder is there while it is unfinished."""
    return out.with_name(f"{out.stem}.state")


def _new_model(
    algorithm: str, environment: VecMonitor, obs_mode: str, settings: Mapping[str, Any], seed: int, device: str
) -> Any:
    own = dict(settings)
    policy = {"net_arch": list(own.pop("net_arch"))} if "net_arch" in own else {}
    noise = own.pop("noise", None)
    if noise is not None:
        shape = environment.action_space.shape or ()
        own["action_noise"] = NormalActionNoise(np.zeros(shape), np.full(shape, float(noise)))
    # What is not an image goes through no convolutions.
    kind = "CnnPolicy" if obs_mode == "pixels" else "MlpPolicy"
    try:
        return ALGORITHMS[algorithm](kind, environment, policy_kwargs=policy, seed=seed, device=device, **own)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"algo={algorithm!r} refuses its settings: {' '.join(str(error).split())}") from error


def _save(model: Any, out: Path) -> None:
    """Write the zip, as a whole or not at all; as Stable-Baselines3 does, a name without a suffix gets one."""
    target = out if out.suffix else out.with_suffix(".zip")
    staged = target.with_name(f".{target.stem}.partial.zip")
    model.save(staged)
    os.replace(staged, target)


class _Report(BaseCallback):
    """Passes progress on, with the means of the latest episodes, and has states saved between rollouts."""

    def __init__(self, progress: Progress | None, states: SavedStates, environment: VecMonitor) -> None:
        super().__init__()
        self._tell, self._states, self._environment = progress, states, environment
        self.solved: list[bool] = []

    def _on_rollout_start(self) -> None:
        self._states.save_if_due(self.model, self._environment, {"solved": self.solved[-100:]})

    def _on_step(self) -> bool:
        for done, info in zip(self.locals["dones"], self.locals["infos"], strict=True):
            if done:
                self.solved.append(bool(info["success_latched"]))
        if self._tell is not None:
            numbers = {}
            episodes = self.model.ep_info_buffer or []
            if episodes:
                numbers["return"] = float(np.mean([episode["r"] for episode in episodes]))
            if self.solved:
                self.solved = self.solved[-100:]
                numbers["imagined success"] = float(np.mean(self.solved))
            self._tell(self.num_timesteps, numbers)
        return True
