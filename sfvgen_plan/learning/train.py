"""Slow learning from a dataset to a checkpoint folder, stage by stage."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from sfvgen_plan.data.episodes import EpisodeArrays, load_episodes
from sfvgen_plan.data.seeds import check_training_seeds
from sfvgen_plan.data.sources import source_of
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.autoencoder import AutoencoderObjective, AutoencoderStage, estimate_scale, set_latent_scale
from sfvgen_plan.learning.data import TrainingData, to_training_data
from sfvgen_plan.learning.denoiser import DenoiserObjective, DenoiserStage, WindowSettings
from sfvgen_plan.learning.graphs import CapturedFunction
from sfvgen_plan.learning.heads import HeadSettings, HeadsObjective, HeadsStage, PriorObjective, PriorStage
from sfvgen_plan.learning.inverse import InverseObjective, InverseStage
from sfvgen_plan.learning.loop import LoopObjective, LoopSettings, LoopStage
from sfvgen_plan.learning.runs import check_same_run, checked_speedups, data_record, flat, has_split, tensorboard_writer
from sfvgen_plan.learning.trainer import Stage, StageSettings, fit, training_precision
from sfvgen_plan.memory.rows import MemoryRow
from sfvgen_plan.model.build import build_pipeline
from sfvgen_plan.model.checkpoint import Checkpoint, CheckpointCard, load_checkpoint, save_checkpoint
from sfvgen_plan.model.inverse import build_inverse
from sfvgen_plan.model.noise import normal
from sfvgen_plan.model.pipeline import SlowFastVGenPipeline
from sfvgen_plan.model.text import fit_text_encoder

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int, dict[str, float]], None]
STARTS_PER_TASK = 40


class Training:
    """Runs the stages in order. Each method is one stage; ``run`` is all of them, or what is added to a checkpoint: the
    slow-fast loop or inverse dynamics.

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
        self.row, self.loop, self.added = MemoryRow.of(config["row"]), config["loop"], config["add"]
        self.base = self._checked_base(config["checkpoint"])
        episodes = load_episodes(Path(config["data"]), tasks=config["tasks"])
        if not has_split(Path(config["data"])):
            check_training_seeds(episodes.seed, config["data"])
        self.source = source_of(episodes.tasks)
        start = [] if self.base is None else ["--checkpoint CHECKPOINT"]
        self.record: dict[str, Any] = {
            "command": " ".join(["sfvgen-plan train --data DATA --out OUT", *start, *overrides]),
            "seed": self.seed,
            "losses": {},
            "seconds": {},
            "data": data_record(episodes),
        }
        if self.source.licence:
            self.record["licence"] = self.source.licence
        if self.base is None:
            self.record["recipe"] = self.recipe
        if self.loop["fit"] is not None:
            self.record["loop"] = self._loop_record(config)
        elif self.base is not None:
            self.record["added"] = {
                "stage": self.added,
                "settings": self.recipe["inverse"],
                "checkpoint": self.base.hash,
                "trained": self.base.card.training,
            }
        self.card = self._card_of(episodes)
        self.task_names, self.sub_goals = episodes.tasks, episodes.sub_goals
        self.data = to_training_data(episodes, self.device)
        self._check_resumable(config)
        torch.manual_seed(self.seed)
        self.pipeline = self.base.pipeline if self.base is not None else self._fresh_pipeline()

    def run(self) -> Path:
        """All stages; returns the checkpoint folder."""
        started = time.monotonic()
        if self.base is None and self.recipe["base"] is None:
            self.fit_autoencoder()
        self.encode()
        if self.base is None:
            self.fit_denoiser()
            if self.recipe["rollouts"]["fit"]["steps"] > 0:
                self.fit_rollouts()
            if self.pipeline.heads is not None:
                self.dream()
                self.fit_heads()
                self.fit_priors()
                if self.recipe["inverse"]["fit"]["steps"] > 0:
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

    def fit_autoencoder(self) -> None:
        """Stage 1, and the latents' scale."""
        heads, vae = self.pipeline.heads, self.pipeline.vae
        vae.to(memory_format=torch.channels_last)  # twice as fast for pictures, on GPUs and CPUs
        mean, std = estimate_scale(self.data)
        heads.register_to_config(
            estimate_mean=mean.tolist(), estimate_std=std.tolist(), reward_scale=self.source.reward_scale
        )
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
        self._fit_denoiser("denoiser", settings["windows"], settings["fit"])

    def fit_rollouts(self) -> None:
        """Stage 2, once more on context that the denoiser has made itself, as in long rollouts."""
        settings = self.recipe["rollouts"]
        self._fit_denoiser("rollouts", {**self.recipe["denoiser"]["windows"], **settings["windows"]}, settings["fit"])

    def _fit_denoiser(self, name: str, windows: dict[str, Any], fit: dict[str, Any]) -> None:
        objective = DenoiserObjective(self.pipeline.unet, self.pipeline.scheduler)
        data, text = self._told()
        settings = WindowSettings(**{**windows, "lengths": tuple(windows["lengths"])})
        stage = DenoiserStage(data, objective, text, settings, name=name)
        if self.speedups.get(name) == "graphs":
            stage.denoise = CapturedFunction(stage.denoise)
        self._fit(stage, fit)

    def dream(self, chunk: int = 8) -> None:
        """Every episode again as the model imagines it, in chunks from real context: what heads will have to read."""
        data, latents = self.data, self.data.latents
        assert latents is not None
        imagined = latents.clone()
        text, _ = self.pipeline.embed([self.card.tasks[task] for task in self.task_names])
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

    def fit_inverse(self) -> None:
        """Stage 3, inverse dynamics: from every executed action."""
        torch.manual_seed(self.seed)  # the same first weights in a run that goes on here
        self.pipeline.register_modules(inverse=build_inverse(self.pipeline))
        settings = HeadSettings(**self.recipe["heads"]["learning"])
        stage = InverseStage(self.data, InverseObjective(self.pipeline.inverse), settings)
        self._fit(stage, self.recipe["inverse"]["fit"])

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
            StageSettings(**self.loop["fit"]).batch,
            self.seed,
            self.accelerator.process_index,
            self.accelerator.num_processes,
        )
        self._fit(stage, self.loop["fit"])
        self.card = replace(self.card, context_frames=context)

    def save(self) -> None:
        """Write the checkpoint, weights in bfloat16, with a bank of real start frames."""
        starts = self.base.starts if self.base is not None else self._starts()
        starts = {task: latents.cpu() for task, latents in starts.items()}
        self.pipeline.to("cpu")
        for component in self.pipeline.components.values():
            if isinstance(component, torch.nn.Module):
                # The base class's own: diffusers warns of modules to keep in float32 where there are none.
                torch.nn.Module.to(component, torch.bfloat16)
        save_checkpoint(self.out, self.pipeline, self.card, starts)

    def _checked_base(self, folder: str | None) -> Checkpoint | None:
        """The checkpoint that the loop or what is added starts from, if it is not this run's own."""
        if self.added is not None:
            self._check_added(folder)
        elif self.loop["fit"] is None and folder is not None:
            raise UserError(f"checkpoint={folder!r} is what to start from; add loop=slowfast or add=inverse")
        if self.loop["fit"] is None and self.row.name != "full":
            raise UserError(f"row={self.row.name!r} is for the slow-fast loop alone; add loop=slowfast")
        if folder is None:
            return None
        if Path(folder).resolve() == self.out.resolve():
            raise UserError(f"out={folder!r} is the checkpoint to start from, too; give another --out")
        base = load_checkpoint(folder, self.device)
        if self.added is not None and base.pipeline.heads is None:
            raise UserError(f"checkpoint={folder!r} has no heads, so nothing can be planned in it; give one with heads")
        return base

    def _check_added(self, folder: str | None) -> None:
        if self.added != "inverse":
            raise UserError(f"add={self.added!r} is unknown; choose inverse, or null")
        if folder is None or self.loop["fit"] is not None:
            raise UserError(
                "add=inverse takes a --checkpoint and no loop; without a checkpoint it is one of the stages"
            )

    def _card_of(self, episodes: EpisodeArrays) -> CheckpointCard:
        """The card of what will be trained. The record in it goes on being filled."""
        actions = episodes.actions.shape[-1]
        if self.base is None:
            return CheckpointCard(
                tasks=dict(zip(episodes.tasks, episodes.instructions, strict=True)),
                size=episodes.size,
                camera=episodes.camera,
                repeat=episodes.repeat,
                action_dim=actions,
                context_frames=self.recipe["denoiser"]["windows"]["context"],
                readouts=list(self.source.readouts),
                training=self.record,
                sub_goals=episodes.sub_goals,
            )
        self.base.check_fits(episodes.tasks, episodes, "the data", "collect data like the checkpoint's")
        if actions != self.base.card.action_dim:
            raise UserError(
                f"checkpoint={str(self.base.path)!r} takes actions of {self.base.card.action_dim} numbers, "
                f"the data has {actions}; collect data like the checkpoint's"
            )
        card = replace(self.base.card, training=self.record)
        if self.added is not None:
            return card
        return replace(card, sub_goals=list(dict.fromkeys([*card.sub_goals, *episodes.sub_goals])))

    def _check_resumable(self, config: Mapping[str, Any]) -> None:
        """Refuse to go on with the training state of another model or another loop."""
        model = {"base": self.recipe["base"], "tasks": list(self.card.tasks), **self.recipe["model"]}
        if self.sub_goals:
            model["sub-goals"] = self.sub_goals
        if self.base is not None:
            model = {"checkpoint": self.base.hash}
        states = {"model": model}
        if self.added is not None:
            states["added"] = {"tasks": self.task_names}
        if self.loop["fit"] is not None:
            loop = {name: value for name, value in self.loop.items() if name != "fit"}
            states["loop"] = json.loads(json.dumps({"tasks": self.task_names, **flat({**loop, "row": config["row"]})}))
        for name, state in states.items():
            check_same_run(self.out, name, state, write=self.accelerator.is_main_process)

    def _loop_record(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What the card says of the loop, and of the checkpoint that it started from."""
        record = {"row": self.row.name, "memory": self.row.loop_memory, "row settings": config["row"]}
        record["settings"] = config["loop"]
        if self.base is not None:
            record |= {"checkpoint": self.base.hash, "trained": self.base.card.training}
        return record

    def _starts(self) -> dict[str, Tensor]:
        """Real start frames of every task."""
        starts = {}
        assert self.data.latents is not None
        number = torch.arange(len(self.data.task), device=self.device)
        for index, task in enumerate(self.task_names):
            first = number[(number == self.data.first) & (self.data.task == index) & ~self.data.held_out]
            starts[task] = self.data.latents[first[:STARTS_PER_TASK]]
        return starts

    def _fresh_pipeline(self) -> SlowFastVGenPipeline:
        if self.recipe["base"] is not None:
            return SlowFastVGenPipeline.from_modelscope(self.recipe["base"], self.card.action_dim).to(self.device)
        texts = [*self.card.tasks.values(), *self.sub_goals]
        pipeline = build_pipeline(texts, self.card.size, self.card.action_dim, **self.recipe["model"])
        cosine = fit_text_encoder(
            pipeline.tokenizer, pipeline.text_encoder, texts, self.recipe["text_steps"], self.seed
        )
        logger.info("text encoder: largest cosine between two texts %.3f", cosine)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(self.device)

    def _told(self) -> tuple[TrainingData, Tensor]:
        """The data for those who are told of sub-goals: its ``task`` counts in the texts, whose features are given."""
        texts = [*(self.card.tasks[task] for task in self.task_names), *self.sub_goals]
        return replace(self.data, task=self.data.text), self.pipeline.embed(texts)[0]

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
