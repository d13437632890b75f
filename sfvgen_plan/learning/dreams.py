"""Windows that are trained on: they begin more often where the data is thin, and some are dreams: frames as the model
itself imagines them, as contexts.

Whoever is only shown true frames drifts away on its own ones. On a GPU a dream is made by a copy of the network in
bfloat16, compiled and replayed as one CUDA graph, so that it costs less than the training step that it is for.
"""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from sfvgen_plan.learning.data import TrainingData
from sfvgen_plan.model.attention import Window
from sfvgen_plan.model.condition import Condition
from sfvgen_plan.model.noise import noise_levels
from sfvgen_plan.model.transformer import VideoTransformer
from sfvgen_plan.replay import CapturedFunction

BITS = 10
SHARES, MOST = 4, 16  # shares of a common window, and the most that any window gets


class Dreams:
    """Makes windows with a network that goes on being trained.

    Args:
        network: that dreams.
        fast: on a CUDA device, compile and capture.
        remember: memory layers are written, too.
    """

    def __init__(self, network: VideoTransformer, fast: bool, remember: bool = True) -> None:
        self.network, self._dreamer, self.remember = network, network, remember
        self._dream: Callable[..., Tensor] = self._dreamt
        if fast:
            self._dreamer = copy.deepcopy(network).rounded_().requires_grad_(False)
            self._dreamer.compile_blocks()
            self._dream = CapturedFunction(self._dreamt)

    @torch.no_grad()
    def __call__(
        self, truth: Tensor, kept: Tensor, actions: Tensor, given: Tensor, place: Tensor, text: Tensor, drawn: Tensor
    ) -> Tensor:
        """The windows' frames (B, T, S, V) imagined in one step each, after the first ``kept`` (B,) true ones.

        Args:
            truth: (B, T, S, V) tokens of the true frames.
            actions, given, place, text: see ``Condition``.
            drawn: noise of the frames' shape.
        """
        if self._dreamer is not self.network:
            torch._foreach_copy_(list(self._dreamer.parameters()), list(self.network.parameters()))
        return self._dream(truth, kept, actions, given, place, text, drawn)

    def _dreamt(
        self, truth: Tensor, kept: Tensor, actions: Tensor, given: Tensor, place: Tensor, text: Tensor, drawn: Tensor
    ) -> Tensor:
        network = self._dreamer
        # A copy is in bfloat16 throughout.
        with nullcontext() if network is self.network else torch.autocast(truth.device.type, enabled=False):
            level = network.config.context_noise
            window = Window(network.empty(len(truth)), network.tokens)
            told = torch.full_like(given[:, :1], level)
            frames = []
            for t in range(truth.shape[1]):
                now = slice(t, t + 1)
                known = Condition(actions[:, now], given[:, now], place[:, now], text[:, now])
                frame = truth[:, now]
                if t:
                    made = network.sample(window, t, drawn[:, now], known, noise_levels(1))
                    frame = torch.where((t < kept)[:, None, None, None], frame, made)
                frames.append(frame)
                if t + 1 < truth.shape[1]:
                    # The noise of the context: the same numbers serve, as this frame is done.
                    known = replace(known, text=text[:, t + 1 : t + 2])
                    imagined = (t >= kept)[:, None]
                    shown = frame + level * drawn[:, now].flip(-1)
                    network.look(window, t, shown, told, known, imagined, self.remember)
            return torch.cat(frames, 1)


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
