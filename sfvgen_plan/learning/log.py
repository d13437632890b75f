"""How a training run goes: lines of JSON, TensorBoard, and whoever shows progress."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from sfvgen_plan.errors import need_package

Progress = Callable[[str, int, int, dict[str, float]], None]  # told of (stage, step, steps, numbers)


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
