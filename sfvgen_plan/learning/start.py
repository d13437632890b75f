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

from sfvgen_plan.catalogue import find_checkpoint
from sfvgen_plan.errors import UserError, reason
from sfvgen_plan.learning.recipe import Recipe
from sfvgen_plan.model.build import build_pipeline
from sfvgen_plan.model.checkpoint import Checkpoint, CheckpointCard, hide_progress_bars, load_checkpoint
from sfvgen_plan.model.logs import held_back
from sfvgen_plan.model.pipeline import SlowFastVGenPipeline
from sfvgen_plan.model.text import fit_text_encoder

logger = logging.getLogger(__name__)


def checked_start(config: Mapping[str, Any], recipe: Recipe, device: torch.device) -> Checkpoint | None:
    """The checkpoint of the settings, whose weights all stages go on from.

    Raises:
        UserError: it can't be started from, or not with these settings.
    """
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
    return start


def first_pipeline(
    recipe: Recipe, card: CheckpointCard, readouts: int, seed: int, start: Checkpoint | None
) -> SlowFastVGenPipeline:
    """The recipe's networks, untrained but for the text encoder; or with the weights of ``start``, whose text encoder
    stays if it knows all texts; or ModelScope's, if the recipe has a ``base``.

    Raises:
        UserError: ModelScope's networks can't be loaded; ``start`` has networks of other sizes.
    """
    if recipe.base is not None:
        return _modelscope_pipeline(recipe.base, card.action_dim)
    texts = [*card.tasks.values(), *card.sub_goals]
    sizes = {**asdict(recipe.model), "transformer": recipe.model.transformer.chosen()}
    pipeline = build_pipeline(texts, card.size, card.action_dim, readouts, **sizes)
    pipeline.set_progress_bar_config(disable=True)
    if start is not None:
        _take_weights(pipeline, start)
        if set(texts) <= {*start.card.tasks.values(), *start.card.sub_goals}:
            known = start.pipeline
            pipeline.register_modules(tokenizer=known.tokenizer, text_encoder=known.text_encoder)
            return pipeline
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


def _take_weights(pipeline: SlowFastVGenPipeline, start: Checkpoint) -> None:
    for name in ("vae", "transformer"):
        try:
            getattr(pipeline, name).load_state_dict(getattr(start.pipeline, name).state_dict())
        except RuntimeError as error:
            mismatch = str(error).splitlines()[-1].strip()
            raise UserError(
                f"checkpoint={str(start.path)!r}: its {name} has other sizes than the recipe's model, or its frames, "
                "actions or read-outs were others; choose the recipe and data that it was trained with "
                f"({mismatch})"
            ) from None
