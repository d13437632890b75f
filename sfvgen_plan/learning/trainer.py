"""One training loop for every stage: accelerate, EMA, bf16, exact resume; and the log of how a run goes."""

import json
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sfvgen_plan.errors import need_package
from sfvgen_plan.io import atomic
from sfvgen_plan.learning.recipe import StageSettings
from sfvgen_plan.replay import CapturedObjective

logger = logging.getLogger(__name__)

Speedup = Literal["none", "compile", "graphs"]
Progress = Callable[[str, int, int, dict[str, float]], None]  # told of (stage, step, steps, numbers)


class Stage(Protocol):
    """What a stage trains on and for."""

    @property
    def name(self) -> str:
        """Names the stage's files and log lines."""

    @property
    def objective(self) -> nn.Module:
        """Called with the tensors of a batch; returns a dict of scalars with the key ``loss``."""

    def batch(self, step: int, size: int, generator: torch.Generator, average: nn.Module) -> dict[str, Tensor]:
        """A batch of ``size`` samples, a pure function of the generator's state and the averaged weights."""


def training_precision(device: torch.device) -> AbstractContextManager[None]:
    """bfloat16 products on a GPU; float32 elsewhere, so that runs on a CPU are exact."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def fit(
    stage: Stage,
    settings: StageSettings,
    accelerator: Accelerator,
    folder: Path,
    seed: int,
    speedup: Speedup = "none",
    save_every_seconds: float = 120.0,
    log_every: int = 50,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> tuple[dict[str, float], float]:
    """Train a stage to its last step and leave the averaged weights in ``stage.objective``.

    Batches are pure functions of (seed, step, process), so a run that was killed and resumed equals an uninterrupted
    one bit for bit on the same device. State is saved to ``folder/<stage>.pt``, atomically; a finished stage is
    loaded and not trained again. Returns the last logged numbers and the seconds that the stage took altogether.

    ``speedup`` is for CUDA: torch.compile, or CUDA graphs (those with one process only).
    """
    objective = stage.objective.to(accelerator.device)
    optimizer = _optimizer(objective, settings, accelerator.device)
    average = AveragedModel(objective, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=False)
    parts: dict[str, Any] = {"objective": objective, "average": average, "optimizer": optimizer}
    path = folder / f"{stage.name}.pt"
    step, logs, seconds = 0, {}, 0.0
    started = time.monotonic()
    if path.exists():
        progress = _restore(path, accelerator.device, parts)
        step, logs, seconds = progress["step"], progress["logs"], progress["seconds"]
        logger.info("%s: resumed at step %d of %d", stage.name, step, settings.steps)
    if step < settings.steps:
        if speedup == "compile":
            objective.compile(dynamic=False)
        model, optimizer = accelerator.prepare(objective, optimizer)
        if speedup == "graphs" and accelerator.num_processes == 1:
            model = CapturedObjective(model)
        size = max(1, settings.batch // accelerator.num_processes)
        generator = torch.Generator(accelerator.device)
        saved = time.monotonic()
        while step < settings.steps:
            generator.manual_seed(((seed * 1_000_003 + step) * 1_009 + accelerator.process_index) % 2**62)
            torch.manual_seed(generator.initial_seed())
            batch = stage.batch(step, size, generator, average.module)
            losses = _step(model, optimizer, accelerator, batch, settings, step)
            average.multi_avg_fn = get_ema_multi_avg_fn(settings.decay(step))
            average.update_parameters(objective)
            step += 1
            if step % log_every == 0 or step == settings.steps:
                logs = {k: float(v.detach()) for k, v in losses.items()}
                if on_step is not None:
                    on_step(step, logs)
            if time.monotonic() - saved > save_every_seconds or step == settings.steps:
                saved = time.monotonic()
                if accelerator.is_main_process:
                    progress = {"step": step, "logs": logs, "seconds": seconds + saved - started}
                    _save(path, parts, progress)
    objective.load_state_dict(average.module.state_dict())
    objective.eval()
    return logs, seconds + time.monotonic() - started


def _optimizer(objective: nn.Module, settings: StageSettings, device: torch.device) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        [p for p in objective.parameters() if p.requires_grad],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=device.type == "cuda",
    )


def _step(
    model: nn.Module,
    optimizer: Any,
    accelerator: Accelerator,
    batch: dict[str, Tensor],
    settings: StageSettings,
    n: int,
) -> dict[str, Tensor]:
    """The ``n``-th update of the weights; returns the losses."""
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * settings.rate(n)
    with training_precision(accelerator.device):
        losses: dict[str, Tensor] = model(**batch)
    accelerator.backward(losses["loss"])
    accelerator.clip_grad_norm_(model.parameters(), settings.clip)
    optimizer.step()
    optimizer.zero_grad()
    return losses


def _save(path: Path, parts: dict[str, Any], progress: dict[str, Any]) -> None:
    with atomic(path, "out") as staged:
        torch.save({**{name: part.state_dict() for name, part in parts.items()}, **progress}, staged)


def _restore(path: Path, device: torch.device, parts: dict[str, Any]) -> dict[str, Any]:
    """Put back what ``_save`` wrote; returns the progress."""
    # Several processes on a CPU have numbered ones, which torch can't load to.
    state = torch.load(path, map_location="cpu" if device.type == "cpu" else device, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state.pop(name))
    return state


class Log:
    """Writes ``folder``/log.jsonl, and TensorBoard's files in ``folder``/tensorboard where they are wanted. Raises
    UserError: TensorBoard is wanted, but not installed."""

    def __init__(self, folder: Path, tensorboard: bool = False, on_progress: Progress | None = None) -> None:
        self.file, self.on_progress, self.writer = folder / "log.jsonl", on_progress, None
        self.started = time.monotonic()
        if tensorboard:
            need_package("tensorboard", "log")
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(folder / "tensorboard"))

    def write(self, stage: str, step: int, steps: int, numbers: dict[str, float]) -> None:
        """The numbers of a step, of so many in the stage."""
        rounded = {name: round(value, 5) for name, value in numbers.items()}
        line = {"stage": stage, "step": step, "seconds": round(time.monotonic() - self.started, 1), **rounded}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self.writer is not None:
            for name, value in numbers.items():
                self.writer.add_scalar(f"{stage}/{name}", value, step)
        if self.on_progress is not None:
            self.on_progress(stage, step, steps, numbers)
