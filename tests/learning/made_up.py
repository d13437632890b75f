"""Training data that no dataset holds."""

import torch

from sfvgen_plan.learning.data import TrainingData


def training_data(episodes, action, **own):
    """Of episodes of equally many frames, from the actions (F, A) that led into them. Nothing is seen, earned or known
    in them, nobody advises, and none is held out, unless ``own`` tensors say otherwise."""
    number = torch.arange(len(action))
    frames = len(action) // episodes
    first, nothing, never = number // frames * frames, torch.zeros(len(number)), number < 0
    usual = dict(
        frames=nothing[:, None], expert=0 * action, has_expert=never, reward=nothing, success=nothing,
        terminated=never, labelled=number > first, estimates=nothing[:, None], task=0 * number, first=first,
        last=first + frames - 1, held_out=never, few=never, by_expert=never, text=0 * number,
    )  # fmt: skip
    return TrainingData(action=action, **usual | own)
