"""Slow learning from a dataset to a checkpoint folder, stage by stage."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.data.seeds import check_training_seeds
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.autoencoder import AutoencoderObjective, AutoencoderStage, estimate_scale, set_latent_scale
from sfvgen_plan.learning.data import TrainingData, to_training_data
from sfvgen_plan.learning.denoiser import DenoiserObjective, DenoiserStage, WindowSettings
from sfvgen_plan.learning.fitting import Fitting, Progress
from sfvgen_plan.learning.graphs import CapturedFunction
from sfvgen_plan.learning.heads import HeadSettings, HeadsObjective, HeadsStage, PriorObjective, PriorStage
from sfvgen_plan.learning.inverse import InverseObjective, InverseStage
from sfvgen_plan.learning.latents import dreamt, encoded, start_frames
from sfvgen_plan.learning.loop import LoopObjective, LoopSettings, LoopStage
from sfvgen_plan.learning.mirror import with_mirrored
from sfvgen_plan.learning.motion import (
    MotionObjective,
    MotionSettings,
    MotionStage,
    check_robots_alone,
    followed_episodes,
)
from sfvgen_plan.learning.origin import card_of, checked_origin, fresh_pipeline, new_record, run_states
from sfvgen_plan.learning.runs import check_same_run, checked_fits, checked_speedups, has_split, note_run
from sfvgen_plan.learning.trainer import Stage
from sfvgen_plan.memory.rows import MemoryRow
from sfvgen_plan.model.checkpoint import save_checkpoint
from sfvgen_plan.model.inverse import build_inverse


class Training:
    """Runs the stages in order. Each method is one stage; ``run`` is all of them, from new networks or from those of a
    checkpoint (``add=tasks``), or what is added to a checkpoint: the slow-fast loop or inverse dynamics.

    Args:
        config: the values of ``configs/train.yaml`` with one recipe under ``train``.
        on_progress: called with (stage, step, steps, numbers).
        overrides: the ``key=value`` that made the config, for the checkpoint's record.

    Raises:
        UserError: settings that don't go together, data of evaluation seeds, data that the checkpoint to start from
            was not trained for, or a folder that holds another run.
    """

    def __init__(
        self, config: Mapping[str, Any], on_progress: Progress | None = None, overrides: Sequence[str] = ()
    ) -> None:
        self.fits = checked_fits(config)
        self.recipe = config["train"]
        self.seed = int(config["seed"])
        self.out = Path(config["out"])
        # Precision is set around each objective: accelerate's own wrapping would hide the forward from torch.compile.
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1  # on CPU cores accelerate must be told, or each is alone
        self.accelerator = Accelerator(cpu=several and not torch.cuda.is_available())
        self.device = self.accelerator.device
        speedups = checked_speedups(config["speedups"])
        self.speedups = speedups if self.device.type == "cuda" else {}
        folder = self.out / "training"
        self.fitting = Fitting(folder, self.accelerator, self.seed, self.speedups, config["log"], on_progress)
        self.row, self.loop, self.added = MemoryRow.of(config["row"]), config["loop"], config["add"]
        origin = checked_origin(config, self.row, self.device)
        self.base = origin.base
        episodes = load_episodes(Path(config["data"]), tasks=config["tasks"])
        if not has_split(Path(config["data"])):
            check_training_seeds(episodes.seed, config["data"])
        self.record = new_record(config, origin, self.row, episodes, overrides)
        self.card = card_of(config, self.base, episodes, self.record)
        self.task_names, self.sub_goals = episodes.tasks, episodes.sub_goals
        self.reward_scale = episodes.source.reward_scale
        self.data = to_training_data(episodes, self.device)
        check_robots_alone(self.recipe["model"]["motion_width"], self.card.readouts)
        if self.recipe["mirror"]:
            self.data = with_mirrored(self.data)
        states = run_states(config, origin, self.card, episodes)
        for name, state in states.items():
            check_same_run(self.out, name, state)
        torch.manual_seed(self.seed)
        if self.base is not None:
            self.pipeline = self.base.pipeline
        else:
            self.pipeline = fresh_pipeline(self.recipe, self.card, self.seed, self.device, origin.further)
        # Not before: a run whose networks can't be loaded leaves nothing that another would be compared with.
        if self.accelerator.is_main_process:
            for name, state in states.items():
                note_run(self.out, name, state)

    def run(self) -> Path:
        """All stages; returns the checkpoint folder."""
        started = time.monotonic()
        if self.base is None:
            self.set_scales()
            if self.recipe["base"] is None:
                self.fit_autoencoder()
        self.encode()
        if self.pipeline.motion is not None and (self.base is None or self.added == "motion"):
            self.fit_motion()
        self.follow()
        if self.base is None:
            self.fit_denoiser()
            self.dream()
            self.fit_heads()
            self.fit_priors()
            if self.fits[InverseStage.name].steps > 0:
                self.fit_inverse()
        elif self.added == "inverse":
            self.dream()
            self.fit_inverse()
        if self.loop["fit"] is not None:
            self.fit_loop()
        self.record["seconds"]["this run"] = round(time.monotonic() - started, 1)
        self.record["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        self.record["processes"] = self.accelerator.num_processes
        if self.accelerator.is_main_process:
            self.save()
        self.accelerator.wait_for_everyone()
        return self.out

    def set_scales(self) -> None:
        """The units of rewards and of state read-outs, for the networks that tell them."""
        mean, std = estimate_scale(self.data)
        scale = {"estimate_mean": mean.tolist(), "estimate_std": std.tolist()}
        self.pipeline.heads.register_to_config(**scale, reward_scale=self.reward_scale)
        if self.pipeline.motion is not None:
            self.pipeline.motion.register_to_config(**scale)

    def fit_autoencoder(self) -> None:
        """Stage 1, and the latents' scale."""
        heads, vae = self.pipeline.heads, self.pipeline.vae
        vae.to(memory_format=torch.channels_last)  # twice as fast for pictures, on GPUs and CPUs
        settings = self.recipe["autoencoder"]
        text = torch.zeros(len(self.card.tasks), self.recipe["model"]["text_dim"], device=self.device)
        objective = AutoencoderObjective(vae, heads, text, **settings["loss"])
        shape = (vae.config.latent_channels, heads.config.sample_size, heads.config.sample_size)
        self._fit(AutoencoderStage(self.data, objective, shape))
        set_latent_scale(vae, self.data)

    def encode(self) -> None:
        """Latents of all frames."""
        self.pipeline.to(self.device)
        self.data.latents = encoded(self.pipeline, self.data)

    def fit_motion(self) -> None:
        """Between the stages, where actions take the robot."""
        settings = MotionSettings(**self.recipe["motion"]["learning"])
        objective = MotionObjective(self.pipeline.motion, settings.place_weight)
        self._fit(MotionStage(self.data, objective, self._pooled(), settings))
        # As it will be stored: the denoiser is to be told in training what it will be told later.
        for weights in self.pipeline.motion.parameters():
            weights.data = weights.data.bfloat16().float()

    def follow(self) -> None:
        """What the denoiser is told of the data's actions, if that is more than they are."""
        if self.pipeline.motion is not None:
            pooled = self.pipeline.embed([self.card.tasks[task] for task in self.task_names])[1]
            self.data.followed = followed_episodes(self.pipeline.motion, self.data, pooled)

    def fit_denoiser(self) -> None:
        """Stage 2."""
        settings = self.recipe["denoiser"]["windows"]
        objective = DenoiserObjective(self.pipeline.unet, self.pipeline.scheduler)
        data, text = self._told()
        windows = WindowSettings(**{**settings, "lengths": tuple(settings["lengths"])})
        stage = DenoiserStage(data, objective, text, windows)
        if self.speedups.get(stage.name) == "graphs":
            stage.denoise = CapturedFunction(stage.denoise)
        self._fit(stage)

    def dream(self) -> None:
        """Every episode again as the model imagines it, for the heads."""
        text, _ = self.pipeline.embed([self.card.tasks[task] for task in self.task_names])
        self.data.imagined = dreamt(self.pipeline, self.data, text, self.card.context_frames)

    def fit_heads(self) -> None:
        """Stage 3, heads."""
        settings = HeadSettings(**self.recipe["heads"]["learning"])
        objective = HeadsObjective(self.pipeline.heads, settings.expectile)
        self._fit(HeadsStage(self.data, objective, self._pooled(), settings))

    def fit_priors(self) -> None:
        """Stage 3, priors: one from every state's expert action, one from a few expert episodes."""
        settings = HeadSettings(**self.recipe["heads"]["learning"])
        usable = self.data.has_expert & ~self.data.held_out
        for name, mask in (("prior", usable), ("prior10", usable & self.data.few)):
            objective = PriorObjective(getattr(self.pipeline, name))
            stage = PriorStage(name, self.data, objective, self._pooled(), self.data.indices(mask), settings)
            self._fit(stage)

    def fit_inverse(self) -> None:
        """Stage 3, inverse dynamics: from every executed action."""
        torch.manual_seed(self.seed)  # the same first weights in a run that goes on here
        self.pipeline.register_modules(inverse=build_inverse(self.pipeline))
        settings = HeadSettings(**self.recipe["heads"]["learning"])
        stage = InverseStage(self.data, InverseObjective(self.pipeline.inverse), settings)
        self._fit(stage)

    def fit_loop(self) -> None:
        """The last stage: slow-fast learning. Heads and priors stay as they are, the autoencoder's latents do, too."""
        if self.speedups.get(LoopStage.name) == "compile":
            raise UserError("speedups.loop=compile does not go with adapters that change; use none or graphs")
        context = self.row.context_frames or self.card.context_frames
        settings = LoopSettings(**{k: v for k, v in self.loop.items() if k not in ("windows", "fit")})
        windows = WindowSettings(
            lengths=(context + settings.chunk,), context=context, vary=0.0, dream=0.0, **self.loop["windows"]
        )
        learning = self.row.fast_learning if self.row.loop_memory else None
        data, text = self._told()
        scale = learning.alpha / learning.rank if learning is not None else 1.0
        stage = LoopStage(
            data,
            LoopObjective(self.pipeline.unet, self.pipeline.scheduler, scale),
            text,
            windows,
            settings,
            learning,
            self.fits[LoopStage.name].batch,
            self.seed,
            self.accelerator.process_index,
            self.accelerator.num_processes,
        )
        self._fit(stage)
        self.card = replace(self.card, context_frames=context)

    def save(self) -> None:
        """Write the checkpoint, weights in bfloat16, with a bank of real start frames."""
        starts = self.base.starts if self.base is not None else start_frames(self.data, self.task_names)
        starts = {task: latents.cpu() for task, latents in starts.items()}
        self.pipeline.to("cpu")
        for component in self.pipeline.components.values():
            if isinstance(component, torch.nn.Module):
                # The base class's own: diffusers warns of modules to keep in float32 where there are none.
                torch.nn.Module.to(component, torch.bfloat16)
        save_checkpoint(self.out, self.pipeline, self.card, starts)

    def _told(self) -> tuple[TrainingData, Tensor]:
        """The data for those who are told of sub-goals: its ``task`` counts in the texts, whose features are given."""
        texts = [*(self.card.tasks[task] for task in self.task_names), *self.sub_goals]
        return replace(self.data, task=self.data.text), self.pipeline.embed(texts)[0]

    def _pooled(self) -> Tensor:
        return self.pipeline.embed(list(self.card.tasks.values()))[1]

    def _fit(self, stage: Stage) -> None:
        logs, seconds = self.fitting.fit(stage, self.fits[stage.name])
        self.record["losses"][stage.name] = {k: round(v, 5) for k, v in logs.items()}
        self.record["seconds"][stage.name] = round(seconds, 1)
