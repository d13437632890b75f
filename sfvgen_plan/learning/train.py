"""Slow learning from a dataset to a checkpoint folder, stage by stage."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from accelerate import Accelerator
from torch import Tensor

from sfvgen_plan.data.episodes import EpisodeArrays, load_episodes
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.autoencoder import AutoencoderObjective, AutoencoderStage, estimate_scale, set_latent_scale
from sfvgen_plan.learning.data import to_training_data
from sfvgen_plan.learning.denoiser import DenoiserObjective, DenoiserStage, WindowSettings
from sfvgen_plan.learning.graphs import CapturedFunction
from sfvgen_plan.learning.heads import HeadSettings, HeadsObjective, HeadsStage, PriorObjective, PriorStage
from sfvgen_plan.learning.trainer import Speedup, Stage, StageSettings, fit, training_precision
from sfvgen_plan.model.build import build_pipeline
from sfvgen_plan.model.checkpoint import CheckpointCard, save_checkpoint
from sfvgen_plan.model.noise import normal
from sfvgen_plan.model.pipeline import SlowFastVGenPipeline
from sfvgen_plan.model.text import fit_text_encoder

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int, dict[str, float]], None]
STARTS_PER_TASK = 40


class Training:
    """Runs the stages in order. Each method is one stage; ``run`` is all of them.

    Args:
        config: the values of ``configs/train.yaml`` with one recipe under ``train``.
        on_progress: called with (stage, step, steps, numbers).
        overrides: the ``key=value`` that made the config, for the checkpoint's record.
    """

    def __init__(
        self, config: Mapping[str, Any], on_progress: Progress | None = None, overrides: Sequence[str] = ()
    ) -> None:
        self.recipe = config["train"]
        self.seed = int(config["seed"])
        self.out = Path(config["out"])
        self.on_progress = on_progress
        # Precision is set around each objective: accelerate's own wrapping would hide the forward from torch.compile.
        self.accelerator = Accelerator()
        self.device = self.accelerator.device
        speedups = checked_speedups(config["speedups"])
        self.speedups = speedups if self.device.type == "cuda" else {}
        self.writer = tensorboard_writer(self.out / "training") if config["log"] else None
        self.record: dict[str, Any] = {
            "command": " ".join(["sfvgen-plan train --data DATA --out OUT", *overrides]),
            "recipe": self.recipe,
            "seed": self.seed,
            "losses": {},
            "seconds": {},
        }
        episodes = load_episodes(Path(config["data"]), tasks=config["tasks"])
        self.card = CheckpointCard(
            tasks=dict(zip(episodes.tasks, episodes.instructions, strict=True)),
            size=episodes.size,
            camera=episodes.camera,
            repeat=episodes.repeat,
            action_dim=episodes.actions.shape[-1],
            context_frames=self.recipe["denoiser"]["windows"]["context"],
            training=self.record,
        )
        self.record["data"] = data_record(episodes)
        self.data = to_training_data(episodes, self.device)
        self._check_resumable()
        torch.manual_seed(self.seed)
        self.pipeline = self._fresh_pipeline()

    def run(self) -> Path:
        """All stages; returns the checkpoint folder."""
        started = time.monotonic()
        if self.recipe["base"] is None:
            self.fit_autoencoder()
        self.encode()
        self.fit_denoiser()
        if self.pipeline.heads is not None:
            self.dream()
            self.fit_heads()
            self.fit_priors()
        self.record["seconds"]["this run"] = round(time.monotonic() - started, 1)
        self.record["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        self.record["processes"] = self.accelerator.num_processes
        if self.accelerator.is_main_process:
            self.save()
        self.accelerator.wait_for_everyone()
        return self.out

    def fit_autoencoder(self) -> None:
        """Stage 1, and the latents' scale."""
        heads, vae = self.pipeline.heads, self.pipeline.vae
        vae.to(memory_format=torch.channels_last)  # twice as fast for pictures, on GPUs and CPUs
        mean, std = estimate_scale(self.data)
        heads.register_to_config(estimate_mean=mean.tolist(), estimate_std=std.tolist())
        settings = self.recipe["autoencoder"]
        text = torch.zeros(len(self.card.tasks), self.recipe["model"]["text_dim"], device=self.device)
        objective = AutoencoderObjective(vae, heads, text, **settings["loss"])
        shape = (vae.config.latent_channels, heads.config.sample_size, heads.config.sample_size)
        self._fit(AutoencoderStage(self.data, objective, shape), settings["fit"])
        set_latent_scale(vae, self.data)

    def encode(self) -> None:
        """Latents of all frames, in half precision."""
        self.pipeline.to(self.device)
        with training_precision(self.device):
            self.data.latents = torch.cat([self.pipeline.encode(part).half() for part in self.data.frames.split(4096)])

    def fit_denoiser(self) -> None:
        """Stage 2."""
        settings = self.recipe["denoiser"]
        windows = WindowSettings(**{**settings["windows"], "lengths": tuple(settings["windows"]["lengths"])})
        text, _ = self.pipeline.embed(list(self.card.tasks.values()))
        objective = DenoiserObjective(self.pipeline.unet, self.pipeline.scheduler)
        stage = DenoiserStage(self.data, objective, text, windows)
        if self.speedups.get(stage.name) == "graphs":
            stage.denoise = CapturedFunction(stage.denoise)
        self._fit(stage, settings["fit"])

    def dream(self, chunk: int = 8) -> None:
        """Every episode again as the model imagines it, in chunks from real context: what heads will have to read."""
        data, latents = self.data, self.data.latents
        assert latents is not None
        imagined = latents.clone()
        text, _ = self.pipeline.embed(list(self.card.tasks.values()))
        number = torch.arange(len(latents), device=self.device)
        starts = number[((number - data.first) % chunk == 0) & (number < data.last)]
        for part in starts.split(1024):
            window = torch.minimum(
                part[:, None] + torch.arange(1, chunk + 1, device=self.device), data.last[part][:, None]
            )
            noise = normal(part, torch.zeros_like(part), (chunk, *latents.shape[1:]))
            with training_precision(self.device):
                made = self.pipeline.generate(
                    latents[data.window(part, self.card.context_frames)].float(),
                    data.action[window],
                    text[data.task[part]],
                    noise,
                    2,
                )
            # Windows that run past the end of the episode repeat its last frame: keep only frames that exist.
            real = part[:, None] + torch.arange(1, chunk + 1, device=self.device) <= data.last[part][:, None]
            imagined[window[real]] = made[real].half()
        data.imagined = imagined

    def fit_heads(self) -> None:
        """Stage 3, heads."""
        settings = HeadSettings(**self.recipe["heads"]["learning"])
        objective = HeadsObjective(self.pipeline.heads, settings.expectile)
        self._fit(HeadsStage(self.data, objective, self._pooled(), settings), self.recipe["heads"]["fit"])

    def fit_priors(self) -> None:
        """Stage 3, priors: one from every state's expert action, one from a few expert episodes."""
        settings = HeadSettings(**self.recipe["heads"]["learning"])
        usable = self.data.has_expert & ~self.data.held_out
        for name, mask in (("prior", usable), ("prior10", usable & self.data.few)):
            objective = PriorObjective(getattr(self.pipeline, name))
            stage = PriorStage(name, self.data, objective, self._pooled(), self.data.indices(mask), settings)
            self._fit(stage, self.recipe[name]["fit"])

    def save(self) -> None:
        """Write the checkpoint, weights in bfloat16, with a bank of real start frames."""
        starts = {}
        assert self.data.latents is not None
        number = torch.arange(len(self.data.task), device=self.device)
        for index, task in enumerate(self.card.tasks):
            first = number[(number == self.data.first) & (self.data.task == index) & ~self.data.held_out]
            starts[task] = self.data.latents[first[:STARTS_PER_TASK]].cpu()
        self.pipeline.to("cpu")
        for component in self.pipeline.components.values():
            if isinstance(component, torch.nn.Module):
                component.to(torch.bfloat16)
        save_checkpoint(self.out, self.pipeline, self.card, starts)

    def _check_resumable(self) -> None:
        """Refuse to go on with the training state of another model."""
        file = self.out / "training" / "model.json"
        model = {"base": self.recipe["base"], "tasks": list(self.card.tasks), **self.recipe["model"]}
        if file.exists() and (found := json.loads(file.read_text())) != model:
            other = [key for key in model if model[key] != found.get(key)]
            raise UserError(
                f"out={str(self.out)!r} holds a training run with "
                + ", ".join(f"{key}={found.get(key)} (now {model[key]})" for key in other)
                + "; give another --out, or the same settings to go on with it"
            )
        if self.accelerator.is_main_process:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(model, indent=1) + "\n")

    def _fresh_pipeline(self) -> SlowFastVGenPipeline:
        if self.recipe["base"] is not None:
            return SlowFastVGenPipeline.from_modelscope(self.recipe["base"], self.card.action_dim).to(self.device)
        instructions = list(self.card.tasks.values())
        pipeline = build_pipeline(instructions, self.card.size, self.card.action_dim, **self.recipe["model"])
        cosine = fit_text_encoder(
            pipeline.tokenizer, pipeline.text_encoder, instructions, self.recipe["text_steps"], self.seed
        )
        logger.info("text encoder: largest cosine between two instructions %.3f", cosine)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(self.device)

    def _pooled(self) -> Tensor:
        return self.pipeline.embed(list(self.card.tasks.values()))[1]

    def _fit(self, stage: Stage, settings: Mapping[str, Any]) -> None:
        values = StageSettings(**settings)
        speedup = self.speedups.get(stage.name, "none")
        started = time.monotonic()

        def on_step(step: int, logs: dict[str, float]) -> None:
            rounded = {k: round(v, 5) for k, v in logs.items()}
            line = {"stage": stage.name, "step": step, "seconds": round(time.monotonic() - started, 1), **rounded}
            if self.accelerator.is_main_process:
                folder = self.out / "training"
                folder.mkdir(parents=True, exist_ok=True)
                with (folder / "log.jsonl").open("a") as file:
                    file.write(json.dumps(line) + "\n")
                if self.writer is not None:
                    for key, value in logs.items():
                        self.writer.add_scalar(f"{stage.name}/{key}", value, step)
                if self.on_progress is not None:
                    self.on_progress(stage.name, step, values.steps, logs)

        logs, seconds = fit(stage, values, self.accelerator, self.out / "training", self.seed, speedup, on_step=on_step)
        self.record["losses"][stage.name] = {k: round(v, 5) for k, v in logs.items()}
        self.record["seconds"][stage.name] = round(seconds, 1)


def checked_speedups(chosen: Mapping[str, Any]) -> dict[str, Speedup]:
    """The ``speedups`` of the configuration.

    Raises:
        UserError: a value is none of ``Speedup``.
    """
    for stage, value in chosen.items():
        if value not in get_args(Speedup):
            raise UserError(f"speedups.{stage}={value!r} is unknown; choose {', '.join(get_args(Speedup))}")
    return dict(chosen)


def tensorboard_writer(folder: Path) -> Any:
    """A TensorBoard writer in ``folder``/tensorboard.

    Raises:
        UserError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError("log=true needs TensorBoard; pip install 'sfvgen-plan[log]' or use log=false") from error
    return SummaryWriter(str(folder / "tensorboard"))


def data_record(episodes: EpisodeArrays) -> dict[str, Any]:
    """What a checkpoint says of its data: counts and the range of seeds."""
    return {
        "episodes": len(episodes.lengths),
        "frames": len(episodes.frames),
        "first seed": int(min(episodes.seed)),
        "last seed": int(max(episodes.seed)),
    }
