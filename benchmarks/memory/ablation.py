"""The paper's ablations of the memory, as rows of ``memory_revisit.csv``.

``full`` is a Temp-LoRA whose writing slow learning has taught, ``no_temp_lora`` the same network unread. The others
write its fast weights ``B`` by the gradient of the denoising loss alone (eq. 3), as the paper does: Adam's steps at the
end of every chunk, with respect to an episode's own B. Each differs in one thing from ``denoising``. The network is
told place and action together, so both are told here; its frames are causal, so frames that are all noised are learnt
one by one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from sfvgen_plan.benchmarks.memory.revisit import TrueEpisode, imagine, revisit_psnr
from sfvgen_plan.errors import UserError
from sfvgen_plan.imagination import Imagination
from sfvgen_plan.learning.recipe import VideoSettings
from sfvgen_plan.memory.layers import Lora
from sfvgen_plan.memory.temp_lora import CHUNK
from sfvgen_plan.model import noise
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.model.condition import Condition
from sfvgen_plan.model.noise import target
from sfvgen_plan.model.transformer import VideoTransformer
from sfvgen_plan.simulator import LearnedSimulator

LEVEL_STREAM, NOISE_STREAM, SAMPLE_STREAM = 10, 11, 12  # of the random numbers of fast learning
RATES, STEPS = (3e-3, 1e-2, 3e-2, 1e-1), (1, 4)  # learning rates and steps a chunk that are tried for each rule
DEVELOPMENT = range(1000, 1008)  # seeds of the episodes that they are chosen on


class Rule(NamedTuple):
    """What is noised and learnt at the end of a chunk: so many frames ``before`` the output chunk along with it, unless
    the input is clean, shown and not learnt; or frames ``sampled`` from the whole sequence so far. ``window``: frames
    that a frame sees beside itself; None for those of the network."""

    before: int = CHUNK
    clean_input: bool = False
    sampled: bool = False
    window: int | None = None


RULES = {
    "denoising": Rule(),
    "original_temp_lora": Rule(clean_input=True),
    "no_local_rule": Rule(sampled=True),
    "no_chunk_input": Rule(before=1, window=1),
    "no_loop": Rule(),
}
"""``no_loop`` is ``denoising`` on a network whose memory was not written while it learnt."""


@dataclass(frozen=True)
class Ablated:
    """A row: a checkpoint whose fast weights are written by a rule, at a learning ``rate``, in ``steps`` a chunk.
    Raises UserError: the checkpoint has no Temp-LoRA."""

    row: str
    checkpoint: Checkpoint
    rate: float = 0.0
    steps: int = 0

    def __post_init__(self) -> None:
        checkpoint = self.checkpoint
        if not checkpoint.has_memory or checkpoint.pipeline.transformer.config.memory != "lora":
            raise UserError(f"checkpoint={str(checkpoint.path)!r} has no Temp-LoRA; give one of train=memory")

    @property
    def rule(self) -> Rule:
        return RULES[self.row]

    @property
    def settings(self) -> dict[str, float]:
        """What its rows are made with."""
        return {"rate": self.rate, "steps": self.steps}

    def simulator(self, sampler_steps: int) -> LearnedSimulator:
        """Its simulator, which reads what is written from outside."""
        simulator = self.checkpoint.simulator(sampler_steps=sampler_steps, memory=False)
        if self.rule.window is not None:
            simulator.network = copy.deepcopy(simulator.network)
            simulator.network.register_to_config(window=self.rule.window)
        return simulator

    def tuned(self, episodes: Sequence[TrueEpisode], sampler_steps: int) -> Ablated:
        """With the rate and the steps that give the highest PSNR on these episodes."""
        simulator, many = self.simulator(sampler_steps), [*episodes] * len(RATES)
        rates = torch.tensor(RATES).repeat_interleave(len(episodes))
        tried = {}
        for steps in STEPS:
            dreams = imagine(simulator, many, FastLearning(self.checkpoint, self.rule, rates, steps))
            found = [revisit_psnr(*pair) for pair in zip(many, dreams, strict=True)]
            for rate, values in zip(RATES, torch.tensor(found).view(len(RATES), -1), strict=True):
                tried[float(values.mean())] = replace(self, rate=rate, steps=steps)
        return tried[max(tried)]

    def learning(self, episodes: int) -> FastLearning:
        """For so many episodes."""
        return FastLearning(self.checkpoint, self.rule, torch.full((episodes,), self.rate), self.steps)


class FastLearning:
    """Writes the memories of N episodes that go on side by side; called after every frame (see ``revisit.Learn``). The
    checkpoint's network, in single precision, gives the loss; each episode has a rate (N,), and Adam takes so many
    ``steps`` a chunk."""

    def __init__(self, checkpoint: Checkpoint, rule: Rule, rates: Tensor, steps: int) -> None:
        self.network: VideoTransformer = checkpoint.pipeline.transformer
        network = self.network
        self.rule, self.steps = rule, steps
        self.rates = rates.to(network.embed.weight.device).view(-1, 1, 1, 1, 1)
        self.frames: list[Tensor] = []
        self.actions: list[Tensor] = []
        self.places: list[Tensor] = []
        self.taken = 0
        none = network.empty(len(rates)).memory
        assert isinstance(none, Lora)
        self.memory = none
        self.mean, self.square = torch.zeros_like(none.fast), torch.zeros_like(none.fast)

    def __call__(self, state: Imagination, action: Tensor) -> Imagination:
        """The episodes with what their newest chunk has taught, if it is complete."""
        self.frames.append(self.network.patches(state.latents.float()))
        self.actions.append(action[:, 0])
        self.places.append(state.place)
        if len(self.frames) % CHUNK == 0:
            for _ in range(self.steps):
                self._step(state)
        return replace(state, cache=replace(state.cache, memory=self.memory))

    def _step(self, state: Imagination) -> None:
        """One of Adam's (Kingma and Ba 2015), each episode with its own rate."""
        self.taken += 1
        with torch.enable_grad():
            fast = self.memory.fast.requires_grad_()
            (slope,) = torch.autograd.grad(self._loss(state, replace(self.memory, fast=fast)), fast)
        self.mean = 0.9 * self.mean + 0.1 * slope
        self.square = 0.999 * self.square + 0.001 * slope.square()
        mean, square = self.mean / (1 - 0.9**self.taken), self.square / (1 - 0.999**self.taken)
        self.memory = replace(self.memory, fast=fast.detach() - self.rates * mean / (square.sqrt() + 1e-8))

    def _loss(self, state: Imagination, memory: Lora) -> Tensor:
        """Denoising loss, mean over the frames that are learnt, sum over episodes."""
        rule, episodes, seed = self.rule, len(state), state.seed
        count = torch.full_like(seed, self.taken)
        last = len(self.frames)
        index = torch.arange(max(0, last - CHUNK - rule.before), last, device=seed.device).expand(episodes, -1)
        if rule.sampled:
            index = (noise.uniform(seed, count, index.shape[1], SAMPLE_STREAM) * last).long()
        row = torch.arange(episodes, device=seed.device)[:, None]
        truth, actions, places = (torch.stack(x, 1)[row, index] for x in (self.frames, self.actions, self.places))
        settings = VideoSettings()
        level = noise.normal(seed, count, (index.shape[1],), LEVEL_STREAM) * settings.log_std + settings.log_mean
        level = level.exp().clamp(0.005, 80)
        drawn = noise.normal(seed, count, (2, *truth.shape[1:]), NOISE_STREAM)
        text = state.text[:, None].expand(-1, index.shape[1], -1)
        parts = [truth, actions, places, text, level, drawn[:, 0], drawn[:, 1]]
        if not rule.clean_input:  # each by itself
            parts = [part.flatten(0, 1)[:, None] for part in parts]
            memory = memory.select(row.expand_as(index).flatten())
        truth, actions, places, text, level, drawn, other = parts
        shown = torch.full_like(level, self.network.config.context_noise)
        noisy = truth + level[..., None, None] * drawn
        known = Condition(actions, torch.ones_like(level), places, text)
        output, _ = self.network.training_pass(
            truth + shown[..., None, None] * other, shown, noisy, level, known, memory=memory
        )
        error = (output - target(truth, noisy, level)).square().mean((-1, -2)).view(episodes, -1)
        return error[:, -CHUNK if rule.clean_input else 0 :].mean(1).sum()
