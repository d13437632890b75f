"""Training Stable-Baselines3 agents where nothing is real but the first frame; to compare, in the real simulator.

So that an agent gets in reality what it gets there, rollouts may branch from real states, anywhere in real episodes,
and are then no longer than the simulator can be trusted (Janner et al. 2019, MBPO).
"""

import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecMonitor

from sfvgen_plan.agents.algorithms import Learner, TrainingSettings
from sfvgen_plan.agents.sb3 import ORIGIN
from sfvgen_plan.data.episodes import EpisodeArrays, load_episodes
from sfvgen_plan.data.sources import FIRST_TRAINING_SEED
from sfvgen_plan.devices import cpu_cores
from sfvgen_plan.envs.family import family_of
from sfvgen_plan.envs.observation import Observer
from sfvgen_plan.envs.sb3 import CheckpointVecEnv, ImaginedVecEnv
from sfvgen_plan.envs.vector import ImaginedVectorEnv
from sfvgen_plan.errors import UserError
from sfvgen_plan.io import atomic
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.run_note import check_same
from sfvgen_plan.settings import flat

MODELS = {"ppo": PPO, "sac": SAC}
AGENT_FILE, RECORD_FILE = "agent.zip", "train.json"  # in the folder of an agent: its policy, and how it was trained
BRANCHES = 512  # real states that rollouts branch from
WINDOWS = 64
TRUSTED_ERROR = 0.5
"""Largest error of an imagined reward that is trusted, as a share of how far real rewards lie from their mean."""

Progress = Callable[[int, dict[str, float]], None]
"""Told of the decisions taken so far, and of what the latest episodes were like."""


def environments(settings: TrainingSettings, task: str, checkpoint: Checkpoint) -> VecEnv:
    """The environments, from the checkpoint's bank of real start frames; real ones, at most one a core, from scenes of
    their own. Raises UserError: what the environments refuse."""
    scale = 1 / checkpoint.card.reward_scale  # so that the largest is 1
    if settings.real:
        family = family_of(task)
        task = family.canonical(task)
        checkpoint.task_index(task)
        observer = Observer(checkpoint.simulator(memory=settings.memory), settings.obs_mode)
        make = partial(family.make, task, **checkpoint.frames, max_decisions=settings.horizon)
        processes = SubprocVecEnv([make] * min(settings.num_envs, cpu_cores()), start_method="spawn")
        return CheckpointVecEnv(processes, task, observer, scale)
    vector = ImaginedVectorEnv(
        settings.num_envs, task, checkpoint, autoreset_mode="SameStep", obs_mode=settings.obs_mode,
        max_decisions=settings.horizon, sampler_steps=settings.sampler_steps, memory=settings.memory,
    )  # fmt: skip
    return ImaginedVecEnv(vector, scale)


def train(
    folder: Path,
    learner: Learner,
    task: str,
    checkpoint: Checkpoint,
    seed: int = 0,
    progress: Progress | None = None,
    data: Path | None = None,
    start: Path | None = None,
) -> Path:
    """Train an agent into ``folder``, which is made then: ``agent.zip``, which is returned, and ``train.json``, which
    says how it was trained. One that is there already, trained in the same way, is left as it is. Raises UserError:
    numbers that make no sense, or a folder with another training.

    Args:
        task: the checkpoint's name of it.
        seed: of the algorithm and of the first episodes.
        data: dataset whose states rollouts branch from, at most as long as the checkpoint is trusted there; None: they
            begin as the checkpoint's episodes do.
        start: zip of an agent whose networks it begins with; None: new ones.
    """
    settings = learner.settings
    record: dict[str, Any] = {"algo": learner.algo, "task": task, "seed": seed, "checkpoint": checkpoint.hash}
    record["settings"] = {**asdict(settings), "algo": dict(learner.numbers)}
    if (folder / AGENT_FILE).exists():
        try:
            found = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
            both = (flat({name: of[name] for name in record}) for of in (found, record))
            before, asked = ({name.removeprefix("settings."): value for name, value in of.items()} for of in both)
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"out={str(folder)!r} has an agent without readable {RECORD_FILE}; give another") from None
        check_same(f"out={str(folder)!r} has an agent", before, asked)
        return folder / AGENT_FILE
    if data is not None:
        episodes = load_episodes(data, tasks=[task])
        checkpoint = replace(checkpoint, starts={task: branches(checkpoint, episodes)})
        settings = replace(settings, horizon=trusted(checkpoint, episodes, settings.horizon))
    with closing(VecMonitor(environments(settings, task, checkpoint))) as environment:
        model = _begun(learner, environment, seed, start)
        seen = {"obs_mode": settings.obs_mode, "memory": settings.memory}
        setattr(model, ORIGIN, {"checkpoint": checkpoint.hash, "task": task, **seen})
        if settings.real:
            environment.seed(FIRST_TRAINING_SEED + seed * settings.num_envs)
        started = time.monotonic()
        model.learn(settings.decisions, callback=_Report(progress))
    with atomic(folder, "out") as staged:
        staged.mkdir()
        model.save(staged / AGENT_FILE)
        done = {"horizon": settings.horizon, "decisions": model.num_timesteps, "seconds": time.monotonic() - started}
        (staged / RECORD_FILE).write_text(json.dumps(record | done, indent=1) + "\n", encoding="utf-8")
    return folder / AGENT_FILE


def _begun(learner: Learner, environment: VecMonitor, seed: int, start: Path | None) -> Any:
    """A model that has taken no decision yet: a new one, or that of the zip ``start``."""
    settings, own = learner.settings, dict(learner.numbers)
    if start is not None:
        model = MODELS[learner.algo].load(start, environment, device=settings.policy_device)
        model.num_timesteps = 0
        model.set_random_seed(seed)
        return model
    policy = {"net_arch": list(own.pop("net_arch"))} if "net_arch" in own else {}
    # What is not an image goes through no convolutions.
    kind = "CnnPolicy" if settings.obs_mode == "pixels" else "MlpPolicy"
    common = {"policy_kwargs": policy, "seed": seed, "device": settings.policy_device}
    try:
        return MODELS[learner.algo](kind, environment, **common, **own)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"algo={learner.algo!r} refuses its settings: {' '.join(str(error).split())}") from error


def branches(checkpoint: Checkpoint, episodes: EpisodeArrays) -> torch.Tensor:
    """Latents (S, C, h, w) of real states, spread over all episodes."""
    count = min(BRANCHES, len(episodes.frames))
    chosen = np.linspace(0, len(episodes.frames) - 1, count).astype(int)
    return checkpoint.pipeline.encode(episodes.frames[chosen]).float()


@torch.no_grad()
def trusted(checkpoint: Checkpoint, episodes: EpisodeArrays, longest: int) -> int:
    """Decisions for which rewards imagined from real states, along real actions, stay near the real ones; from 1 to
    ``longest``, and at most half of what an episode has."""
    longest = max(1, min(longest, int(episodes.lengths.max()) // 2))
    begins = [
        (e, t) for e, length in enumerate(episodes.lengths.tolist()) for t in range(0, length - longest + 1, longest)
    ]
    chosen = [begins[n] for n in np.linspace(0, len(begins) - 1, min(WINDOWS, len(begins))).astype(int)]
    frames = np.stack([episodes.frames[episodes.episode_start[e] + t] for e, t in chosen])[:, None]
    steps = np.stack([episodes.action_start[e] + t + np.arange(longest) for e, t in chosen])
    simulator = checkpoint.simulator()
    tasks = [episodes.tasks[episodes.task[e]] for e, _ in chosen]
    texts = [checkpoint.told(task, episodes.descriptions[e]) for task, (e, _) in zip(tasks, chosen, strict=True)]
    state = simulator.begin(frames, tasks, list(range(len(chosen))), texts)
    actions = torch.from_numpy(episodes.actions[steps]).to(simulator.device)
    imagined = simulator.imagine(state, actions)[1].reward.float().cpu().numpy()
    real = episodes.reward[steps]
    error = np.abs(imagined - real).mean(0)
    far = error > TRUSTED_ERROR * max(1e-6, float(np.abs(real - real.mean()).mean()))
    return int(np.argmax(far)) + (not far.any()) * longest or 1


class _Report(BaseCallback):
    """Passes progress on, with the means of the latest episodes."""

    def __init__(self, progress: Progress | None) -> None:
        super().__init__()
        self._tell = progress

    def _on_step(self) -> bool:
        if self._tell is not None:
            returns = [episode["r"] for episode in self.model.ep_info_buffer or []]
            latest = {"return": returns, "success": list(self.model.ep_success_buffer or [])}
            self._tell(self.num_timesteps, {name: float(np.mean(of)) for name, of in latest.items() if of})
        return True
