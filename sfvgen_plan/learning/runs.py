"""What surrounds a training run: its options, its record, and what keeps two runs in one folder apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from sfvgen_plan.data.episodes import EpisodeArrays, read_metadata
from sfvgen_plan.data.minari_writer import METADATA_FILE
from sfvgen_plan.data.rlbench import is_recording
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.trainer import Speedup, StageSettings


def checked_speedups(chosen: Mapping[str, Any]) -> dict[str, Speedup]:
    """The ``speedups`` of the configuration.

    Raises:
        UserError: a value is none of ``Speedup``.
    """
    for stage, value in chosen.items():
        if value not in get_args(Speedup):
            raise UserError(f"speedups.{stage}={value!r} is unknown; choose {', '.join(get_args(Speedup))}")
    return dict(chosen)


def checked_fits(config: Mapping[str, Any]) -> dict[str, StageSettings]:
    """How every stage of the configuration is fitted, by the stage's name: those of its recipe, and the loop if there
    is one. Made before any data is read, so that a bad number is not noticed after an hour of training.

    Raises:
        UserError: a number that makes no sense.
    """
    stages = {f"train.{name}": part for name, part in config["train"].items()} | {"loop": config["loop"]}
    fits = {}
    for place, part in stages.items():
        if not isinstance(part, Mapping) or part.get("fit") is None:
            continue
        try:
            fits[place.removeprefix("train.")] = StageSettings(**part["fit"])
        except UserError as error:
            raise UserError(f"{place}.fit.{error}") from None
    return fits


def check_same_run(out: Path, name: str, state: Mapping[str, Any]) -> None:
    """Refuse to go on with the training state of something else than ``note_run`` has noted.

    Raises:
        UserError: the run in ``out`` is of another state.
    """
    file = _note_of(out, name)
    if file.exists() and (found := json.loads(file.read_text())) != state:
        other = [key for key in {**state, **found} if state.get(key) != found.get(key)]
        raise UserError(
            f"out={str(out)!r} holds a training run with "
            + ", ".join(f"{key}={found.get(key)} (now {state.get(key)})" for key in other)
            + "; give another --out, or the same settings to go on with it"
        )


def note_run(out: Path, name: str, state: Mapping[str, Any]) -> None:
    """Leave ``state`` in ``out``/training/``name``.json, for ``check_same_run``."""
    file = _note_of(out, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(state, indent=1) + "\n")


def _note_of(out: Path, name: str) -> Path:
    return out / "training" / f"{name}.json"


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


def has_split(data: Path) -> bool:
    """Whether the episodes are recorded RLBench ones, as they came or collected from those: they keep training and
    evaluation apart by a split of their own, whatever their seeds."""
    if (data / METADATA_FILE).is_file():
        return "split" in read_metadata(data)["collection"]
    return is_recording(data)


def data_record(episodes: EpisodeArrays) -> dict[str, Any]:
    """What a checkpoint says of its data: counts and the range of seeds."""
    return {
        "episodes": len(episodes.lengths),
        "frames": len(episodes.frames),
        "first seed": int(min(episodes.seed)),
        "last seed": int(max(episodes.seed)),
    }
