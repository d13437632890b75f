"""Slow learning from a dataset to a checkpoint folder: scales, autoencoder, latents, video."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from accelerate import Accelerator

from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.data.sources import check_training_seeds
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.autoencoder import AutoencoderStage, estimate_scale, set_latent_scale
from sfvgen_plan.learning.chunks import ChunkObjective, ChunkStage
from sfvgen_plan.learning.data import start_frames, to_training_data, with_mirrored
from sfvgen_plan.learning.recipe import Recipe, StageSettings, filled
from sfvgen_plan.learning.start import checked_start, first_pipeline, has_split, new_card, run_state
from sfvgen_plan.learning.trainer import Log, Progress, Speedup, Stage, fit, training_precision
from sfvgen_plan.learning.video import VideoObjective, VideoStage
from sfvgen_plan.model.checkpoint import save_checkpoint
from sfvgen_plan.run_note import RunNote


class Training:
    """A run from new networks, from those of a checkpoint, or from ModelScope's; see ``run``.

    Args:
        config: the values of ``configs/train.yaml`` with one recipe under ``train``.
        on_progress: called with (stage, step, steps, numbers).
        overrides: the ``key=value`` that made the config, for the checkpoint's record.

    Raises:
        UserError: settings that make no sense or don't go together, data of evaluation seeds, a checkpoint that can't
            be started from, or a folder that holds another run.
    """

    def __init__(
        self, config: Mapping[str, Any], on_progress: Progress | None = None, overrides: Sequence[str] = ()
    ) -> None:
        self.recipe = filled(Recipe, config["train"], "train")
        self.seed, self.out = int(config["seed"]), Path(config["out"])
        # Precision is set around each objective: accelerate's own wrapping would hide the forward from torch.compile.
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1  # on CPU cores accelerate must be told, or each is alone
        self.accelerator = Accelerator(cpu=several and not torch.cuda.is_available())
        self.device, self.first = self.accelerator.device, self.accelerator.is_main_process
        self.speedups = checked_speedups(config["speedups"]) if self.device.type == "cuda" else {}
        self.log = Log(self.out / "training", config["log"] and self.first, on_progress)
        self.start = start = checked_start(config, self.recipe, self.device)
        episodes = load_episodes(Path(config["data"]), tasks=config["tasks"])
        if not has_split(Path(config["data"])):
            check_training_seeds(episodes.seed, config["data"])
        self.card = new_card(config, self.recipe, episodes, start, overrides)
        note = RunNote(self.out, self.out / "training" / "model.json", run_state(config, self.card, start))
        note.check()
        self.data = to_training_data(episodes, self.device)
        if self.recipe.mirror:
            self.data = with_mirrored(self.data)
        torch.manual_seed(self.seed)
        readouts = episodes.estimates.shape[1]
        self.pipeline = first_pipeline(self.recipe, self.card, readouts, self.seed, start).to(self.device)
        # Not before: a run whose networks can't be loaded leaves nothing that another would be compared with.
        if self.first:
            note.write()

    def run(self) -> Path:
        """All stages; returns the checkpoint folder."""
        started = time.monotonic()
        if self.recipe.base is None:
            self._fit_autoencoder()
        self.pipeline.to(self.device)
        with training_precision(self.device):
            parts = [self.pipeline.encode(part).half() for part in self.data.frames.split(4096)]
        self.data.latents = torch.cat(parts)
        self._fit(self._video_stage(), self.recipe.video.fit)
        record = self.card.training
        record["seconds"]["this run"] = round(time.monotonic() - started, 1)
        record["device"] = torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"
        record["processes"] = self.accelerator.num_processes
        if self.first:
            starts = {task: part.cpu() for task, part in start_frames(self.data, list(self.card.tasks)).items()}
            save_checkpoint(self.out, self.pipeline.to("cpu"), self.card, starts)
        self.accelerator.wait_for_everyone()
        return self.out

    def _fit_autoencoder(self) -> None:
        """Also the units of state, reward and latents; those of a checkpoint to start from stay."""
        vae = self.pipeline.vae
        vae.to(memory_format=torch.channels_last)  # twice as fast for pictures, on GPUs and CPUs
        stage = AutoencoderStage(self.data, vae, self.recipe.autoencoder.loss)
        self._fit(stage, self.recipe.autoencoder.fit)
        if self.start is None:
            set_latent_scale(vae, self.data)
            mean, std = estimate_scale(self.data)
            self.pipeline.transformer.register_to_config(
                estimate_mean=mean.tolist(), estimate_std=std.tolist(), reward_scale=self.card.reward_scale
            )

    def _video_stage(self) -> Stage:
        settings, pipeline = self.recipe.video, self.pipeline
        tokens, pooled = pipeline.embed([*self.card.tasks.values(), *self.card.sub_goals])
        if self.recipe.base is not None:
            return ChunkStage(self.data, ChunkObjective(pipeline.unet, pipeline.scheduler), tokens, settings.chunks)
        objective = VideoObjective(pipeline.transformer, settings.learning)
        fast = self.speedups.get(VideoStage.name, "none") != "none"
        return VideoStage(self.data, objective, pooled, settings.learning, fast)

    def _fit(self, stage: Stage, settings: StageSettings) -> None:
        name, folder = stage.name, self.out / "training"

        def on_step(step: int, numbers: dict[str, float]) -> None:
            if self.first:
                self.log.write(name, step, settings.steps, numbers)

        speedup = self.speedups.get(name, "none")
        numbers, seconds = fit(stage, settings, self.accelerator, folder, self.seed, speedup, on_step=on_step)
        self.card.training["losses"][name] = {key: round(value, 5) for key, value in numbers.items()}
        self.card.training["seconds"][name] = round(seconds, 1)


def checked_speedups(chosen: Mapping[str, Any]) -> dict[str, Speedup]:
    """The ``speedups`` of the configuration. Raises UserError: a value is none of ``Speedup``."""
    for stage, value in chosen.items():
        if value not in get_args(Speedup):
            raise UserError(f"speedups.{stage}={value!r} is unknown; choose {', '.join(get_args(Speedup))}")
    return dict(chosen)
