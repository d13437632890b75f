"""What a training run begins with: its networks, new ones, a checkpoint's, or ModelScope's; its card and record; and
what tells it from other runs."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from sfvgen_plan.cameras import cameras_of
from sfvgen_plan.catalogue import find_checkpoint
from sfvgen_plan.data.episodes import EpisodeArrays, read_metadata
from sfvgen_plan.data.minari_writer import METADATA_FILE
from sfvgen_plan.errors import UserError, reason
from sfvgen_plan.learning.recipe import Recipe
from sfvgen_plan.model.build import build_pipeline, fit_text_encoder, text_networks
from sfvgen_plan.model.checkpoint import Checkpoint, CheckpointCard, load_checkpoint
from sfvgen_plan.model.logs import held_back
from sfvgen_plan.model.pipeline import SlowFastVGenPipeline
from sfvgen_plan.model.transformer import VideoTransformer
from sfvgen_plan.settings import flat

logger = logging.getLogger(__name__)


def checked_start(config: Mapping[str, Any], recipe: Recipe, device: torch.device) -> Checkpoint | None:
    """The checkpoint of the settings, whose weights all stages go on from. Raises UserError: it can't be started from,
    or not with these settings."""
    folder = config["checkpoint"]
    if folder is None:
        return None
    if recipe.base is not None:
        raise UserError(f"train.base={recipe.base!r} does not go with a --checkpoint to start from; give one of them")
    if Path(config["out"]).resolve() == find_checkpoint(folder).resolve():
        raise UserError(f"out={config['out']!r} is the checkpoint to start from, too; give another --out")
    start = load_checkpoint(folder, device)
    if start.pipeline.transformer is None:
        raise UserError(
            f"checkpoint={folder!r} was trained from ModelScope's weights and has no video transformer to go on from; "
            "give another one"
        )
    own_sizes = start.pipeline.transformer.config
    for name, wanted in recipe.model.transformer.chosen().items():
        own = own_sizes[name]
        if own != wanted and not (name.startswith("memory") and not own_sizes.memory_blocks):
            raise UserError(
                f"train.model.transformer.{name}={wanted}, but checkpoint={str(folder)!r} has {own}, and its networks "
                "keep their sizes; choose the recipe that it was trained with"
            )
    return start


def first_pipeline(
    recipe: Recipe, card: CheckpointCard, readouts: int, seed: int, start: Checkpoint | None
) -> SlowFastVGenPipeline:
    """The recipe's networks, untrained but for the text encoder; or those of ``start``, whose text encoder stays if it
    knows all texts; or ModelScope's, if the recipe has a ``base``. Raises UserError: ModelScope's networks can't be
    loaded; ``start`` is for other frames, actions or read-outs."""
    if recipe.base is not None:
        return _modelscope_pipeline(recipe.base, card.action_dim)
    texts = [*card.tasks.values(), *card.sub_goals]
    if start is not None:
        pipeline = _going_on(start, card, recipe)
        if set(texts) <= {*start.card.tasks.values(), *start.card.sub_goals}:
            return pipeline
        dim = pipeline.text_encoder.config.hidden_size
        tokenizer, encoder = text_networks(texts, dim)
        pipeline.register_modules(tokenizer=tokenizer, text_encoder=encoder)
    else:
        sizes = {**asdict(recipe.model), "transformer": recipe.model.transformer.chosen()}
        cameras = len(cameras_of(card.camera))
        pipeline = build_pipeline(texts, card.size, card.action_dim, readouts, **sizes, cameras=cameras)
        pipeline.set_progress_bar_config(disable=True)
    error = fit_text_encoder(pipeline.tokenizer, pipeline.text_encoder, texts, recipe.text_steps, seed)
    logger.info("text encoder: largest error of a cosine between two texts %.3f", error)
    return pipeline


def _modelscope_pipeline(base: str, action_dim: int) -> SlowFastVGenPipeline:
    logger.info("loading %s, which is downloaded before if it is a name on the Hugging Face hub", base)
    try:
        with held_back(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of arguments that the libraries give each other
            # Trained in single precision, however it is stored.
            pipeline = SlowFastVGenPipeline.from_modelscope(base, action_dim, dtype=torch.float32)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"train.base={base!r} can't be loaded ({reason(error).rstrip('.')}); give the folder of a text-to-video "
            "checkpoint in ModelScope's diffusers layout, or its name on the Hugging Face hub and a connection to it; "
            "train.base=null starts from new networks"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _going_on(start: Checkpoint, card: CheckpointCard, recipe: Recipe) -> SlowFastVGenPipeline:
    """The networks of ``start``, which learn again, with new memory layers if the recipe has them and ``start`` has
    none; the units of their numbers and latents stay as they are."""
    for name in ("frame_shape", "action_dim", "readouts"):
        theirs, ours = getattr(start.card, name), getattr(card, name)
        if theirs != ours:
            raise UserError(
                f"checkpoint={str(start.path)!r} was trained with {name}={theirs!r}, but the data has {ours!r}; start "
                "from another one, or from new networks"
            )
    without = start.pipeline.transformer
    changes = recipe.model.transformer.chosen()
    if changes.get("memory_blocks") and not without.config.memory_blocks:
        remembering = VideoTransformer.from_config({**without.config, **changes}).to(without.device)
        weights = remembering.state_dict()
        for name, weight in without.state_dict().items():
            weights[name][: len(weight)] = weight  # a block's numbers for its memory stand behind the others
        start.pipeline.register_modules(transformer=remembering)
    for network in (start.pipeline.vae, start.pipeline.transformer):
        network.requires_grad_(True)
    return start.pipeline


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
