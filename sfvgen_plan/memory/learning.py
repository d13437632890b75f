"""Fast learning, Algorithm 1a: one Adam step on Θ for the newest chunk of every episode."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from sfvgen_plan.errors import UserError, unknown_name
from sfvgen_plan.memory.weights import ATTENTION_PROJECTIONS, Memory, applied
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
    memory = memory.owned()
    with torch.inference_mode(False), torch.enable_grad(), _frozen(unet):
        sequence, seeds = sequence.clone(), seeds.clone()  # inference tensors can't enter a graph
        if given is not None:
            given = Given(given.past, given.actions.clone(), given.text.clone())
        for _ in range(settings.steps):
            down = {k: _leaf(v) for k, v in memory.down.items()}
            up = {k: _leaf(v) for k, v in memory.up.items()}
            live = Memory(down, up, memory.moments, memory.steps.clone(), memory.owner.clone(), memory.scale)
            with applied(unet, live):
                part = _sample(sequence, seeds, live.steps, settings.window)
                losses = episode_losses(unet, scheduler, part, seeds, live.steps, given, settings.log_mean)
            weights = {f"{k}.down": v for k, v in down.items()} | {f"{k}.up": v for k, v in up.items()}
            gradients = torch.autograd.grad(losses.sum(), list(weights.values()))
            memory = _adam(live, weights, dict(zip(weights, gradients, strict=True)), settings.learning_rate)
    return memory, losses.detach()


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Within the block nothing is kept for gradients of the model's own weights."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
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


def _leaf(weights: Tensor) -> Tensor:
    """The same numbers with a gradient of their own; inference tensors can't have one and are copied."""
    return (weights.clone() if weights.is_inference() else weights.detach()).requires_grad_()


def _adam(memory: Memory, weights: dict[str, Tensor], gradients: dict[str, Tensor], rate: float) -> Memory:
    """One step of Adam (Kingma and Ba 2015, the constants of torch.optim.Adam) on every episode's weights, in one long
    row: hundreds of small tensors would take longer to launch than to compute."""
    steps = memory.steps + 1
    count = steps.double()[:, None]  # 1 - 0.999**count loses digits in float32
    names = list(gradients)
    with torch.no_grad():
        gradient = _row(gradients[name] for name in names)
        early, late = ((1 - decay**count).to(gradient.dtype) for decay in (0.9, 0.999))
        # Rows are copies already: in place, or many episodes would need several more of them.
        first = _row(memory.moments[name][0] for name in names).mul_(0.9).add_(gradient, alpha=0.1)
        second = _row(memory.moments[name][1] for name in names).mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        change = (first / early).div_((second / late).sqrt_().add_(1e-8)).mul_(rate)
        updated = _row(weights[name] for name in names).sub_(change)
    shapes = {name: values.shape for name, values in gradients.items()}
    new, means, squares = (_tensors(row, shapes) for row in (updated, first, second))
    return Memory(
        {k: new[f"{k}.down"] for k in memory.down},
        {k: new[f"{k}.up"] for k in memory.up},
        {name: (means[name], squares[name]) for name in names},
        steps,
        memory.owner,
        memory.scale,
    )


def _row(tensors: Iterable[Tensor]) -> Tensor:
    """(M, numbers) from tensors (M, ...)."""
    return torch.cat([tensor.flatten(1) for tensor in tensors], dim=1)


def _tensors(row: Tensor, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """The tensors that ``_row`` joined, as views."""
    parts = row.split([shape[1:].numel() for shape in shapes.values()], dim=1)
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
