"""Twice the data where the camera looks along a plane of symmetry: every episode again, left and right exchanged."""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Tensor

from sfvgen_plan.data.rlbench_state import MIRRORED_ACTION, MIRRORED_ESTIMATES
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import TrainingData


def with_mirrored(data: TrainingData) -> TrainingData:
    """``data`` (F frames, without latents) followed by its mirror image, 2F frames. Episodes that are held out stay so
    on both sides.

    RLBench's front camera stands in the plane y = 0, where the arm's base is, too, and looks along it. Raises
    UserError: the data is not of RLBench, whose scenes and actions can be mirrored.
    """
    if data.action.shape[1] != len(MIRRORED_ACTION):
        raise UserError(
            f"train.mirror=true is for actions of {len(MIRRORED_ACTION)} numbers before RLBench's front camera, and "
            f"the data's have {data.action.shape[1]}; leave it at false"
        )
    count = len(data.frames)
    changed = {
        "frames": data.frames.flip(2),
        "action": _signed(data.action, MIRRORED_ACTION),
        "expert": _signed(data.expert, MIRRORED_ACTION),
        "estimates": _signed(data.estimates, MIRRORED_ESTIMATES),
        "first": data.first + count,
        "last": data.last + count,
    }
    both = {}
    for field in fields(data):
        values = getattr(data, field.name)
        if values is not None:
            both[field.name] = torch.cat([values, changed.get(field.name, values)])
    return replace(data, **both)


def _signed(values: Tensor, signs: tuple[float, ...]) -> Tensor:
    return values * values.new_tensor(signs)
