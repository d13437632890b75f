"""Fast learning, Algorithm 1a: one Adam step on Θ for the newest chunk of every episode."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from sfvgen_plan.errors import UserError, unknown_name
from sfvgen_plan.memory.adam import Rows
from sfvgen_plan.memory.weights import ATTENTION_PROJECTIONS, Memory, computed_in, hooked
from sfvgen_plan.model import diffusion, noise
from sfvgen_plan.model.unet import VideoUNet

NOISE_STREAM, LEVEL_STREAM, SAMPLE_STREAM = 11, 12, 13

Rule = Literal["local", "output", "whole"]


@dataclass(frozen=True)
class FastLearning:
    """Hyperparameters of fast learning; the defaults are the paper's (appendix of SlowFast-VGen).

    Attributes:
        rank, alpha: LoRA rank and scale (the update is multiplied by alpha / rank).
        learning_rate: Adam's α.
        steps: Adam steps per chunk.
        targets: the adapted layers: ends of their names, or patterns such as ``up_blocks.*.to_q``. Fewer cost less.
        rule: what is learnt. "local": the chunk joined with its input (eq. 3); "output": the chunk given its input,
            its actions and its text, as the original Temp-LoRA does; "whole": eq. 3 on samples of the episode so far.
        window: frames of the sample that a step learns from, at a place drawn anew for every step; None: all frames.
            A step costs in proportion. Must be given for "whole" and not for "output".
        log_mean: of ln sigma, the noise that is learnt from (EDM). A sampler of few steps begins where there is much.

    Raises:
        UserError: a number out of its range, an unknown rule, or a window that does not go with it.
    """

    rank: int = 32
    alpha: float = 32.0
    learning_rate: float = 1e-4
    steps: int = 1
    targets: tuple[str, ...] = ATTENTION_PROJECTIONS
    rule: Rule = "local"
    window: int | None = None
    log_mean: float = 0.0

    def __post_init__(self) -> None:
        if self.rank < 1 or self.steps < 1:
            raise UserError(f"rank={self.rank} and steps={self.steps} must be 1 or more")
        if not (math.isfinite(self.alpha) and math.isfinite(self.log_mean) and 0 < self.learning_rate < math.inf):
            raise UserError(
                f"alpha={self.alpha}, log_mean={self.log_mean} and learning_rate={self.learning_rate} must be finite, "
                "the last of them above 0"
            )
        if self.rule not in get_args(Rule):
            raise unknown_name("rule", self.rule, get_args(Rule))
        if self.window is not None and (self.window < 1 or self.rule == "output"):
            raise UserError(f"window={self.window} doesn't go with rule={self.rule!r}; give 1 or more, or null")
        if self.window is None and self.keeps_all:
            raise UserError(
                "window=null doesn't go with rule='whole', whose episodes grow; give the frames of a sample"
            )

    @property
    def keeps_all(self) -> bool:
        """Whether it learns from all frames of the episode, which must be kept for it."""
        return self.rule == "whole"

    @property
    def keeps_actions(self) -> bool:
        """Whether it learns from actions and text, too."""
        return self.rule == "output"


@dataclass(frozen=True)
class Given:
    """What a sequence of N episodes was generated from, for the rule "output".

    Attributes:
        past: how many of the first frames are the input.
        actions: (N, T, A) the action that led into each frame.
        text: (N, L, E) token features.
    """

    past: int
    actions: Tensor
    text: Tensor


@dataclass(frozen=True)
class Lesson:
    """Memories that learn and what they learn from; the arguments of ``learn``, copied into tensors of its own.

    Attributes:
        rows: the memories, which change in place.
        sequence: (N, T, C, h, w).
        seeds: (N,) what noise is drawn from.
        given: for the rule "output".
    """

    rows: Rows
    sequence: Tensor
    seeds: Tensor
    given: Given | None

    @classmethod
    def of(cls, memory: Memory, sequence: Tensor, seeds: Tensor, given: Given | None) -> Lesson:
        """Made outside of inference mode, whose tensors can't be part of what gradients are taken of."""
        if given is not None:
            given = Given(given.past, given.actions.clone(), given.text.clone())
        return cls(Rows.of(memory.owned()), sequence.clone(), seeds.clone(), given)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that a step reads, beside the denoiser."""
        given = () if self.given is None else (self.given.actions, self.given.text)
        return *self.rows.tensors, self.sequence, self.seeds, *given


def episode_losses(
    unet: VideoUNet,
    scheduler: object,
    sequence: Tensor,
    seeds: Tensor,
    counter: Tensor,
    given: Given | None = None,
    log_mean: float = 0.0,
) -> Tensor:
    """Denoising loss on the whole sequence, eq. 3: every frame noised, no clean frame, no text, no action.

    Args:
        sequence: (N, T, C, h, w) input chunk joined with the generated chunk.
        seeds, counter: (N,) what each episode's noise is drawn from.
        given: what it was generated from; the loss is then that of the new frames given the past ones, eq. 2.
        log_mean: of ln sigma.

    Returns:
        (N,) mean squared error per episode.
    """
    eps = noise.normal(seeds, counter, tuple(sequence.shape[1:]), NOISE_STREAM)
    level = diffusion.noise_level(scheduler, noise.uniform(seeds, counter, 1, LEVEL_STREAM)[:, 0], log_mean)
    noisy, timestep, target = diffusion.corrupt(scheduler, sequence, eps, level)
    none = sequence.new_zeros(sequence.shape[:2])
    if given is None:
        actions = sequence.new_zeros(*sequence.shape[:2], unet.config.action_dim)
        text = sequence.new_zeros(len(sequence), 1, unet.config.cross_attention_dim)
        output = unet.denoise(noisy, none, actions, none, timestep, text)
        return (output.float() - target).square().flatten(1).mean(1)
    past = none.clone()
    past[:, : given.past] = 1
    shown = torch.cat([sequence[:, : given.past], noisy[:, given.past :]], dim=1)
    output = unet.denoise(shown, past, given.actions, 1 - past, timestep, given.text)
    return (output.float() - target)[:, given.past :].square().flatten(1).mean(1)


def learn(
    unet: VideoUNet,
    scheduler: object,
    memory: Memory,
    sequence: Tensor,
    seeds: Tensor,
    settings: FastLearning,
    given: Given | None = None,
) -> tuple[Memory, Tensor]:
    """Θ after ``settings.steps`` Adam steps on the sequence (N, T, C, h, w), and the last losses (N,).

    Episodes do not mix: the summed loss has per-episode gradients, and Adam works on each number alone. Φ is untouched.

    Args:
        sequence: the chunk behind its input; for the rule "whole" everything since the start of the episode.
        given: what it was generated from, for the rule "output" alone.
    """
    assert (given is not None) == settings.keeps_actions
    losses = sequence.new_zeros(len(sequence))
    with differentiable(unet):
        lesson = Lesson.of(memory, sequence, seeds, given)
        for _ in range(settings.steps):
            losses = advance(unet, scheduler, lesson, settings)
        return lesson.rows.memory(), losses


def advance(unet: VideoUNet, scheduler: object, lesson: Lesson, settings: FastLearning) -> Tensor:
    """One of the steps of ``learn``, in place, where the denoiser is ``differentiable``; returns its losses (N,).

    Neither waits for the device nor draws from torch's generator, so that a CUDA graph can hold it.
    """
    rows, seeds = lesson.rows, lesson.seeds
    weights = rows.weights.detach().requires_grad_()
    down, up = rows.split(weights.to(computed_in(weights)))
    with hooked(unet, down, up, rows.scale):
        part = _sample(lesson.sequence, seeds, rows.steps, settings.window)
        losses = episode_losses(unet, scheduler, part, seeds, rows.steps, lesson.given, settings.log_mean)
    (gradient,) = torch.autograd.grad(losses.sum(), [weights])
    rows.descend(gradient, settings.learning_rate)
    return losses.detach()


@contextmanager
def differentiable(model: nn.Module) -> Iterator[None]:
    """Within the block gradients are taken, whatever surrounds it, but nothing is kept for those of the model's own
    weights."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _sample(sequence: Tensor, seeds: Tensor, counter: Tensor, window: int | None) -> Tensor:
    """``window`` successive frames of every episode's sequence, from a place that its seed and counter draw."""
    room = sequence.shape[1] - (window or sequence.shape[1])
    if room <= 0:
        return sequence
    start = (noise.uniform(seeds, counter, 1, SAMPLE_STREAM) * (room + 1)).long()
    episode = torch.arange(len(sequence), device=sequence.device)[:, None]
    return sequence[episode, start + torch.arange(sequence.shape[1] - room, device=sequence.device)]
