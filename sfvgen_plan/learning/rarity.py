"""Where the data is thin: windows of states that it has little of are drawn more often."""

import torch
from torch import Tensor

from sfvgen_plan.learning.data import TrainingData

BITS = 10
SHARES, MOST = 4, 16  # shares of a common window, and the most that any window gets


def shares(data: TrainingData, frames: int, exponent: float) -> Tensor:
    """(F,) int64: shares of the draw that a window of ``frames`` frames gets which begins there, at least 1.

    States are counted as in SimHash exploration (Tang et al. 2017): a task's states with the same signs in ``BITS``
    random directions are one cell. A window's weight is the mean of n^-exponent over its frames' cells. States are the
    read-outs where there are any, else latents.
    """
    assert data.latents is not None
    states = (data.estimates if data.estimates.shape[1] else data.latents.flatten(1)).float().cpu()
    task, last = data.task.cpu(), data.last.cpu()
    for index in task.unique().tolist():
        here = task == index
        states[here] = (states[here] - states[here].mean(0)) / states[here].std(0).clamp_min(1e-3)
    directions = torch.randn(states.shape[1], BITS, generator=torch.Generator().manual_seed(0))
    signs = (states @ directions > 0).long()
    cell = task * 2**BITS + (signs * 2 ** torch.arange(BITS)).sum(1)
    _, place, count = cell.unique(return_inverse=True, return_counts=True)
    weight = count.double()[place].pow(-exponent)
    total = torch.cat([torch.zeros(1, dtype=torch.float64), weight.cumsum(0)])
    first = torch.arange(len(task))
    end = torch.minimum(first + frames, last + 1)
    mean = (total[end] - total[first]) / (end - first)
    return (SHARES * mean / mean.mean()).round().clamp(1, MOST).long().to(data.task.device)
