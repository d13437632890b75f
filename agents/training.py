"""Training Stable-Baselines3 agents where nothing is real but the first frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import VecMonitor

from sfvgen_plan.agents.sb3 import ORIGIN
from sfvgen_plan.envs.sb3 import ImaginedVecEnv
from sfvgen_plan.envs.vector import ImaginedVectorEnv
from sfvgen_plan.errors import UserError, unknown_name
from sfvgen_plan.model.checkpoint import Checkpoint

ALGORITHMS = {"ppo": PPO, "sac": SAC, "td3": TD3}

Progress = Callable[[int, dict[str, float]], None]
"""Told of the decisions imagined so far, and of what the latest episodes were like."""


@dataclass(frozen=True)
class Imagining:
    """How imagination is played for training; the fields are explained in ``configs/train_agent.yaml``."""

    obs_mode: str = "state"
    num_envs: int = 32
    horizon: int = 50
    sampler_steps: int = 3
    memory: bool = False
    reward_scale: float = 0.1
    futures: int = 1
    uncertainty_penalty: float = 0.0

    def environment(self, task: str, checkpoint: Checkpoint) -> ImaginedVecEnv:
        """The environments, from the checkpoint's bank of real start frames.

        Raises:
            UserError: what ``ImaginedVectorEnv`` and ``ImaginedVecEnv`` refuse.
        """
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


def train(
    algorithm: str,
    task: str,
    checkpoint: Checkpoint,
    imagining: Imagining,
    decisions: int,
    settings: Mapping[str, Any],
    out: Path,
    seed: int = 0,
    policy_device: str = "cpu",
    progress: Progress | None = None,
) -> Path:
    """Train an agent in imagination alone and save it; what was learned is saved also when Ctrl-C ends it early.

    Args:
        algorithm: one of ``ALGORITHMS``.
        decisions: imagined in all, rounded up to what the algorithm collects at a time.
        settings: its hyperparameters, by Stable-Baselines3's names; ``net_arch`` and ``noise`` apart.
        out: zip file to write; knows the checkpoint, the task and the observation mode.
        seed: of the algorithm and of the first episodes.

    Returns:
        The file.

    Raises:
        UserError: an unknown algorithm, or numbers that make no sense.
    """
    if algorithm not in ALGORITHMS:
        raise unknown_name("algo", algorithm, ALGORITHMS)
    if decisions < 1:
        raise UserError(f"decisions={decisions} leaves nothing to learn from; give at least 1")
    environment = imagining.environment(task, checkpoint)
    own = dict(settings)
    policy = {"net_arch": list(own.pop("net_arch"))} if "net_arch" in own else {}
    noise = own.pop("noise", None)
    if noise is not None:
        count = checkpoint.card.action_dim
        own["action_noise"] = NormalActionNoise(np.zeros(count), np.full(count, float(noise)))
    # What is not an image goes through no convolutions.
    kind = "CnnPolicy" if imagining.obs_mode == "pixels" else "MlpPolicy"
    try:
        model = ALGORITHMS[algorithm](
            kind, VecMonitor(environment), policy_kwargs=policy, seed=seed, device=policy_device, **own
        )
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"algo={algorithm!r} refuses its settings: {' '.join(str(error).split())}") from error
    setattr(model, ORIGIN, {"checkpoint": checkpoint.hash, "task": task, "obs_mode": imagining.obs_mode})
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        model.learn(decisions, callback=_Report(progress))
    finally:
        model.save(out)
        environment.close()
    return out


class _Report(BaseCallback):
    """Passes progress on, with the means of the latest episodes."""

    def __init__(self, progress: Progress | None) -> None:
        super().__init__()
        self._tell = progress
        self._solved: list[bool] = []

    def _on_step(self) -> bool:
        for done, info in zip(self.locals["dones"], self.locals["infos"], strict=True):
            if done:
                self._solved.append(bool(info["success_latched"]))
        if self._tell is not None:
            numbers = {}
            episodes = self.model.ep_info_buffer or []
            if episodes:
                numbers["return"] = float(np.mean([episode["r"] for episode in episodes]))
            if self._solved:
                self._solved = self._solved[-100:]
                numbers["imagined success"] = float(np.mean(self._solved))
            self._tell(self.num_timesteps, numbers)
        return True
