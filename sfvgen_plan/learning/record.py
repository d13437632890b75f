"""What surrounds a training run: its record, its card, and what tells it from other runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_plan.data.episodes import EpisodeArrays, read_metadata
from sfvgen_plan.data.minari_writer import METADATA_FILE
from sfvgen_plan.learning.recipe import Recipe
from sfvgen_plan.model.checkpoint import Checkpoint, CheckpointCard
from sfvgen_plan.nested import flat


def new_card(
    config: Mapping[str, Any],
    recipe: Recipe,
    episodes: EpisodeArrays,
    start: Checkpoint | None,
    overrides: Sequence[str] = (),
) -> CheckpointCard:
    """The card of what will be trained. ``losses`` and ``seconds`` of its record are filled while it goes on."""
    source = episodes.source
    return CheckpointCard(
        tasks=dict(zip(episodes.tasks, episodes.instructions, strict=True)),
        size=episodes.size,
        camera=episodes.camera,
        repeat=episodes.repeat,
        raw_steps_per_second=source.raw_steps_per_second,
        action_dim=episodes.actions.shape[-1],
        reward_scale=start.card.reward_scale if start is not None else source.reward_scale,
        readouts=list(source.readouts) if recipe.base is None else [],
        training=_record(config, episodes, start, overrides),
        sub_goals=episodes.sub_goals,
        actions=source.actions,
        terminates=bool(np.any(episodes.terminated)),
    )


def _record(
    config: Mapping[str, Any], episodes: EpisodeArrays, start: Checkpoint | None, overrides: Sequence[str]
) -> dict[str, Any]:
    begin = ["--checkpoint CHECKPOINT"] if start is not None else []
    record: dict[str, Any] = {
        "command": " ".join(["sfvgen-plan train --data DATA --out OUT", *begin, *overrides]),
        "seed": int(config["seed"]),
        "losses": {},
        "seconds": {},
        "data": {
            "episodes": len(episodes),
            "frames": len(episodes.frames),
            "first seed": int(min(episodes.seed)),
            "last seed": int(max(episodes.seed)),
        },
        "recipe": {name: part for name, part in config["train"].items() if start is None or name != "model"},
    }
    if episodes.source.licence:
        record["licence"] = episodes.source.licence
    if start is not None:
        record["started from"] = {"checkpoint": start.hash, "trained": start.card.training}
    return record


def has_split(data: Path) -> bool:
    """Whether the episodes keep training and evaluation apart by a split of their own, whatever their seeds, as those
    collected from recordings do."""
    return (data / METADATA_FILE).is_file() and "split" in read_metadata(data)["collection"]


def run_state(config: Mapping[str, Any], card: CheckpointCard, start: Checkpoint | None) -> dict[str, Any]:
    """What has to stay the same while a training is gone on with: its networks, texts and start."""
    recipe = config["train"]
    texts = {"tasks": list(card.tasks), "sub-goals": card.sub_goals}
    begin = {"base": recipe["base"], "started from": start.hash if start is not None else None}
    return {**begin, **texts, **flat(recipe["model"])}
