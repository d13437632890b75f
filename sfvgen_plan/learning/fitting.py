"""Fits the stages of one run after the other, and writes down how it goes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from accelerate import Accelerator

from sfvgen_plan.learning.runs import tensorboard_writer
from sfvgen_plan.learning.trainer import Speedup, Stage, StageSettings, fit

Progress = Callable[[str, int, int, dict[str, float]], None]
"""Told of (stage, step, steps, numbers)."""


class Fitting:
    """Its log lies in ``folder``, beside the states of the stages.

    Args:
        folder: of the run's training states.
        accelerator: where and in how many processes to train.
        seed: of all stages.
        speedups: by the stage's name; what is missing is "none".
        log: write TensorBoard files, too.
        on_progress: called by the main process whenever a stage reports.

    Raises:
        UserError: ``log`` without TensorBoard.
    """

    def __init__(
        self,
        folder: Path,
        accelerator: Accelerator,
        seed: int,
        speedups: Mapping[str, Speedup],
        log: bool = False,
        on_progress: Progress | None = None,
    ) -> None:
        self.folder, self.accelerator, self.seed, self.speedups = folder, accelerator, seed, speedups
        self._writer = tensorboard_writer(folder) if log else None
        self._on_progress = on_progress

    def fit(self, stage: Stage, settings: StageSettings) -> tuple[dict[str, float], float]:
        """Train a stage; returns its last numbers and the seconds that it took altogether."""
        speedup = self.speedups.get(stage.name, "none")
        started = time.monotonic()

        def on_step(step: int, logs: dict[str, float]) -> None:
            if self.accelerator.is_main_process:
                self._tell(stage.name, step, settings.steps, logs, time.monotonic() - started)

        return fit(stage, settings, self.accelerator, self.folder, self.seed, speedup, on_step=on_step)

    def _tell(self, name: str, step: int, steps: int, logs: dict[str, float], seconds: float) -> None:
        rounded = {k: round(v, 5) for k, v in logs.items()}
        line = {"stage": name, "step": step, "seconds": round(seconds, 1), **rounded}
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self._writer is not None:
            for key, value in logs.items():
                self._writer.add_scalar(f"{name}/{key}", value, step)
        if self._on_progress is not None:
            self._on_progress(name, step, steps, logs)
