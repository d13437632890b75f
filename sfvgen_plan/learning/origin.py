"""What a training run starts from, and what its checkpoint will say of that."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from sfvgen_plan.data.episodes import EpisodeArrays
from sfvgen_plan.errors import UserError, reason
from sfvgen_plan.learning.runs import data_record
from sfvgen_plan.memory.rows import MemoryRow
from sfvgen_plan.model.build import build_pipeline, build_readers
from sfvgen_plan.model.checkpoint import (
    Checkpoint,
    CheckpointCard,
    checkpoint_folder,
    hide_progress_bars,
    load_checkpoint,
)
from sfvgen_plan.model.logs import held_back
from sfvgen_plan.model.pipeline import CONTEXT_WINDOW, SlowFastVGenPipeline
from sfvgen_plan.model.text import fit_text_encoder
from sfvgen_plan.nested import flat

logger = logging.getLogger(__name__)

ADDED = ("inverse", "motion", "tasks")
"""What can be added to a checkpoint."""


@dataclass(frozen=True)
class Origin:
    """Where a run starts. It has one of these, or none: then all stages start anew.

    Attributes:
        base: the checkpoint that the loop or inverse dynamics are added to; its other stages are not trained again.
        further: the checkpoint whose weights all stages go on from, on the tasks of other data.
    """

    base: Checkpoint | None = None
    further: Checkpoint | None = None


def checked_origin(config: Mapping[str, Any], row: MemoryRow, device: torch.device) -> Origin:
    """The checkpoint of the settings, loaded for what they do with it.

    Raises:
        UserError: settings that don't go together, or a checkpoint that can't be started from.
    """
    folder, added, looping = config["checkpoint"], config["add"], config["loop"]["fit"] is not None
    if added is not None:
        _check_added(added, folder, looping)
        if added == "tasks" and config["train"]["base"] is not None:
            raise UserError(
                f"train.base={config['train']['base']!r} does not go with add=tasks, which starts from a checkpoint"
            )
    elif not looping and folder is not None:
        raise UserError(f"checkpoint={folder!r} is what to start from; add loop=slowfast, add=inverse or add=tasks")
    if not looping and row.name != "full":
        raise UserError(f"row={row.name!r} is for the slow-fast loop alone; add loop=slowfast")
    if folder is None:
        _check_base(config["train"])
        return Origin()
    if Path(config["out"]).resolve() in (Path(folder).resolve(), checkpoint_folder(folder).resolve()):
        raise UserError(f"out={folder!r} is the checkpoint to start from, too; give another --out")
    loaded = load_checkpoint(folder, device)
    if added == "inverse" and loaded.pipeline.heads is None:
        raise UserError(f"checkpoint={folder!r} has no heads, so nothing can be planned in it; give one with heads")
    if added == "motion" and loaded.pipeline.motion is None:
        raise UserError(
            f"checkpoint={folder!r} follows no robot, its denoiser is told of actions alone; give one of train=rlbench"
        )
    return Origin(further=loaded) if added == "tasks" else Origin(base=loaded)


def _check_base(recipe: Mapping[str, Any]) -> None:
    base, motion = recipe["base"], recipe["model"]["motion_width"]
    if base is not None and motion:
        raise UserError(
            f"train.model.motion_width={motion} does not go with train.base={base!r}, which is not told where the "
            "robot goes; give train.model.motion_width=0"
        )


def _check_added(added: str, folder: str | None, looping: bool) -> None:
    if added not in ADDED:
        raise UserError(f"add={added!r} is unknown; choose {', '.join(ADDED)}, or null")
    if folder is None or looping:
        raise UserError(f"add={added} takes a --checkpoint and no loop; without a checkpoint all stages start anew")


def new_record(
    config: Mapping[str, Any], origin: Origin, row: MemoryRow, episodes: EpisodeArrays, overrides: Sequence[str]
) -> dict[str, Any]:
    """What the card says of the run; ``losses`` and ``seconds`` are filled while it goes on."""
    base, further = origin.base, origin.further
    start = ["--checkpoint CHECKPOINT"] if base or further else []
    record: dict[str, Any] = {
        "command": " ".join(["sfvgen-plan train --data DATA --out OUT", *start, *overrides]),
        "seed": int(config["seed"]),
        "losses": {},
        "seconds": {},
        "data": data_record(episodes),
    }
    if licence := episodes.source.licence:
        record["licence"] = licence
    if base is None:
        record["recipe"] = config["train"]
    if further is not None:
        record["started from"] = {"checkpoint": further.hash, "trained": further.card.training}
    if config["loop"]["fit"] is not None:
        record["loop"] = _loop_record(config, base, row)
    elif base is not None:
        record["added"] = {
            "stage": config["add"],
            "settings": config["train"][config["add"]],
            "checkpoint": base.hash,
            "trained": base.card.training,
        }
    return record


def _loop_record(config: Mapping[str, Any], base: Checkpoint | None, row: MemoryRow) -> dict[str, Any]:
    """What the card says of the loop, and of the checkpoint that it started from."""
    record = {"row": row.name, "memory": row.loop_memory, "row settings": config["row"], "settings": config["loop"]}
    if base is not None:
        record |= {"checkpoint": base.hash, "trained": base.card.training}
    return record


def card_of(
    config: Mapping[str, Any], base: Checkpoint | None, episodes: EpisodeArrays, record: dict[str, Any]
) -> CheckpointCard:
    """The card of what will be trained. The record in it goes on being filled.

    Raises:
        UserError: data that the checkpoint to start from was not trained for.
    """
    actions = episodes.actions.shape[-1]
    if base is None:
        windows = config["train"]["denoiser"]["windows"]
        return CheckpointCard(
            tasks=dict(zip(episodes.tasks, episodes.instructions, strict=True)),
            size=episodes.size,
            camera=episodes.camera,
            repeat=episodes.repeat,
            action_dim=actions,
            context_frames=windows["context"],
            anchor_every=min(max(windows["lengths"]), CONTEXT_WINDOW - windows["context"]),
            readouts=list(episodes.source.readouts),
            training=record,
            sub_goals=episodes.sub_goals,
        )
    base.check_fits(episodes.tasks, episodes, "the data", "collect data like the checkpoint's")
    if actions != base.card.action_dim:
        raise UserError(
            f"checkpoint={str(base.path)!r} takes actions of {base.card.action_dim} numbers, "
            f"the data has {actions}; collect data like the checkpoint's"
        )
    card = replace(base.card, training=record)
    if config["add"] is not None:
        return card
    return replace(card, sub_goals=list(dict.fromkeys([*card.sub_goals, *episodes.sub_goals])))


def run_states(
    config: Mapping[str, Any], origin: Origin, card: CheckpointCard, episodes: EpisodeArrays
) -> dict[str, dict[str, Any]]:
    """What has to stay the same while a run is gone on with: its model and its loop, as JSON values by the name of
    their note."""
    recipe = config["train"]
    model = {"base": recipe["base"], "tasks": list(card.tasks), **recipe["model"]}
    if episodes.sub_goals:
        model["sub-goals"] = episodes.sub_goals
    if origin.further is not None:
        model["started from"] = origin.further.hash
    if origin.base is not None:
        model = {"checkpoint": origin.base.hash}
    states = {"model": model}
    if origin.base is not None and config["add"] is not None:
        states["added"] = {"tasks": episodes.tasks}
    if config["loop"]["fit"] is not None:
        loop = {name: value for name, value in config["loop"].items() if name != "fit"}
        states["loop"] = json.loads(json.dumps({"tasks": episodes.tasks, **flat({**loop, "row": config["row"]})}))
    return states


def fresh_pipeline(
    recipe: Mapping[str, Any], card: CheckpointCard, seed: int, device: torch.device, further: Checkpoint | None
) -> SlowFastVGenPipeline:
    """The recipe's networks, untrained but for the text encoder; or ModelScope's with untrained heads and priors, if
    the recipe starts from those; or with the weights of ``further``, whose text encoder stays if it knows all texts.

    Raises:
        UserError: ModelScope's networks can't be loaded; ``further`` has networks of other sizes.
    """
    if recipe["base"] is not None:
        return _modelscope_pipeline(recipe, card).to(device)
    texts = [*card.tasks.values(), *card.sub_goals]
    pipeline = build_pipeline(texts, card.size, card.action_dim, **recipe["model"])
    if further is not None:
        _take_weights(pipeline, further)
        if set(texts) <= {*further.card.tasks.values(), *further.card.sub_goals}:
            known = further.pipeline
            pipeline.register_modules(tokenizer=known.tokenizer, text_encoder=known.text_encoder)
            return pipeline.to(device)
    cosine = fit_text_encoder(pipeline.tokenizer, pipeline.text_encoder, texts, recipe["text_steps"], seed)
    logger.info("text encoder: largest cosine between two texts %.3f", cosine)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def _modelscope_pipeline(recipe: Mapping[str, Any], card: CheckpointCard) -> SlowFastVGenPipeline:
    """ModelScope's networks, with untrained heads and priors on their latents and texts: all later use needs those."""
    base, sizes = recipe["base"], recipe["model"]
    logger.info("loading %s, which is downloaded before if it is a name on the Hugging Face hub", base)
    hide_progress_bars()
    try:
        with held_back(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of arguments that the libraries give each other
            # Trained in single precision, however it is stored.
            pipeline = SlowFastVGenPipeline.from_modelscope(base, card.action_dim, dtype=torch.float32)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"train.base={base!r} can't be loaded ({reason(error).rstrip('.')}); give the folder of a text-to-video "
            "checkpoint in ModelScope's diffusers layout, or its name on the Hugging Face hub and a connection to it; "
            "train.base=null starts from new networks"
        ) from error
    vae, text_encoder = pipeline.vae.config, pipeline.text_encoder.config
    readers = build_readers(
        latent_channels=vae.latent_channels,
        sample_size=card.size // 2 ** (len(vae.block_out_channels) - 1),
        text_dim=text_encoder.hidden_size,
        action_dim=card.action_dim,
        heads_width=sizes["heads_width"],
        prior_width=sizes["prior_width"],
    )
    pipeline.register_modules(**readers)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _take_weights(pipeline: SlowFastVGenPipeline, further: Checkpoint) -> None:
    for name in ("vae", "unet", "heads", "prior", "prior10", "motion"):
        theirs, own = getattr(further.pipeline, name), getattr(pipeline, name)
        if theirs is None or own is None:
            continue
        try:
            own.load_state_dict(theirs.state_dict())
        except RuntimeError as error:
            mismatch = str(error).splitlines()[-1].strip()
            raise UserError(
                f"checkpoint={str(further.path)!r}: its {name} has other sizes than the recipe's model, or its frames "
                f"or actions were of another size; choose the recipe that it was trained with ({mismatch})"
            ) from None
