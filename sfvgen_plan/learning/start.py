"""The networks that a training run begins with: new ones, a checkpoint's, or ModelScope's."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from sfvgen_plan.cameras import cameras_of
from sfvgen_plan.catalogue import find_checkpoint
from sfvgen_plan.errors import UserError, reason
from sfvgen_plan.learning.recipe import Recipe
from sfvgen_plan.model.build import build_pipeline, text_networks
from sfvgen_plan.model.checkpoint import Checkpoint, CheckpointCard, hide_progress_bars, load_checkpoint
from sfvgen_plan.model.logs import held_back
from sfvgen_plan.model.pipeline import SlowFastVGenPipeline
from sfvgen_plan.model.text import fit_text_encoder
from sfvgen_plan.model.transformer import VideoTransformer

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
    cosine = fit_text_encoder(pipeline.tokenizer, pipeline.text_encoder, texts, recipe.text_steps, seed)
    logger.info("text encoder: largest cosine between two texts %.3f", cosine)
    return pipeline


def _modelscope_pipeline(base: str, action_dim: int) -> SlowFastVGenPipeline:
    logger.info("loading %s, which is downloaded before if it is a name on the Hugging Face hub", base)
    hide_progress_bars()
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
