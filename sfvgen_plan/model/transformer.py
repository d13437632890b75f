"""The denoiser: a video transformer that is causal over frames, so that a decision costs its own tokens only.

Every frame has its own noise level, the action that led into it, and its place: the sum of the actions since the
episode began. Which frames are clean is said by their noise levels, so any f_p and f_g are one call (masked conditional
video diffusion; SlowFast-VGen, section 3.2). Clean frames are computed once, kept as keys and values, and their
features are what the heads read.

Shapes: B or N episodes, F frames, a frame's latents (C, h, w) with the pictures of several cameras one above the other,
S tokens a frame, A action numbers, E text features, D state read-outs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.layers import Layer, Memory
from sfvgen_plan.memory.recall import Recall
from sfvgen_plan.memory.temp_lora import TempLora
from sfvgen_plan.model.attention import Block, Cache, Window, pairs_mask, pairs_seen, turns
from sfvgen_plan.model.condition import Condition
from sfvgen_plan.model.noise import denoised

WAVES = 5  # a place is told as waves of 1/4, 1/2, 1, 2 and 4 radians for each full action
LOWEST_NOISE = 0.01  # noise levels below it are told as this one: a clean frame's

EXACT = ("omega", "theta", "own", "least", "forget", "gain")
"""Parameters of memory layers that are not rounded: phases of addresses grow large."""


class Reading(NamedTuple):
    """What the heads say of frames (..., F): unit-scale ``reward``, ``success`` and ``termination`` as logits, and
    ``value`` (..., F); unit-scale ``estimates`` (..., F, D)."""

    reward: Tensor
    success: Tensor
    termination: Tensor
    value: Tensor
    estimates: Tensor


class VideoTransformer(ModelMixin, ConfigMixin):
    """See the module. Noise levels are EDM's sigma (Karras et al. 2022) on latents of unit variance.

    Args:
        height, width: of a frame's latents; the pictures of several cameras lie one above the other.
        latent_channels: C.
        action_dim: A; discrete actions are one-hot vectors.
        summed: the place is the sum of so many numbers of an action, its first ones: what moves the hand or the camera.
        text_dim: E.
        readouts: D state numbers that are read out of a frame.
        window: W, clean frames that a frame sees beside itself.
        patch: side of the square of latents that makes a token.
        dim, depth, heads: of the trunk. conditioning: numbers of the condition of a frame.
        squeezed: numbers of each token that the heads see.
        memory: "lora" (``TempLora``) or "recall" (``Recall``). memory_blocks: indices of the blocks that have one.
        memory_rank: of each head of a Temp-LoRA. memory_beginning: those of the memory blocks that are asked for the
            episode's beginning (``memory.layers``).
        context_noise: noise level that imagined frames are shown with, which hides their small errors.
        reward_scale: the largest reward. estimate_mean, estimate_std: (D,) units of the read-outs.
    """

    @register_to_config
    def __init__(
        self,
        height: int = 8,
        width: int = 8,
        latent_channels: int = 16,
        action_dim: int = 4,
        summed: int = 3,
        text_dim: int = 64,
        readouts: int = 10,
        window: int = 15,
        patch: int = 2,
        dim: int = 256,
        depth: int = 8,
        heads: int = 4,
        conditioning: int = 128,
        squeezed: int = 32,
        memory: str = "lora",
        memory_blocks: Sequence[int] = (),
        memory_rank: int = 128,
        memory_beginning: Sequence[int] = (),
        context_noise: float = 0.1,
        reward_scale: float = 1.0,
        estimate_mean: Sequence[float] = (),
        estimate_std: Sequence[float] = (),
    ) -> None:
        super().__init__()
        if memory not in ("lora", "recall"):
            raise UserError(f"memory={memory!r} is unknown; choose lora or recall")
        self.tokens = (height // patch) * (width // patch)
        values = latent_channels * patch**2
        self.embed = nn.Linear(values, dim)
        self.position = nn.Parameter(torch.randn(self.tokens, dim) * 0.5)
        self.kind = nn.Parameter(torch.randn(2, dim) * 0.1)  # of noisy and of clean frames
        moving = min(summed, action_dim)
        self.noise_in = mlp(17, 2 * conditioning, conditioning)
        self.action_in = mlp(action_dim + 1, 2 * conditioning, conditioning)
        self.place_in = mlp(moving * (2 * WAVES + 1), 2 * conditioning, conditioning)
        self.text_in = nn.Linear(text_dim, conditioning)
        self._sparse: dict[int, BlockMask] = {}
        self.memory_blocks = {block: number for number, block in enumerate(memory_blocks)}
        blocks = []
        for block in range(depth):
            layer: Layer | None = None
            if block in self.memory_blocks and memory == "recall":
                layer = Recall(dim, moving, self.tokens, window, block in memory_beginning)
            elif block in self.memory_blocks:
                number, first = self.memory_blocks[block], block in memory_beginning
                layer = TempLora(dim, moving, self.tokens, number, first, rank=memory_rank)
            blocks.append(Block(dim, heads, conditioning, layer))
        self.blocks: Sequence[Block] = nn.ModuleList(blocks)  # type: ignore[assignment]  # it tells no kind of its own
        self.out = nn.Linear(dim, values)
        nn.init.zeros_(self.out.weight)
        if memory_beginning:
            self.beginning = nn.Linear(dim, values)
        self.squeeze = nn.Linear(dim, squeezed)
        features = self.tokens * squeezed
        self.reader = mlp(features, 512, 4 + readouts)
        self.prior = mlp(features, 512, action_dim)
        self.prior10 = mlp(features, 512, action_dim)
        self.inverse = mlp(2 * features, 512, action_dim)

    # Pictures and tokens

    def patches(self, latents: Tensor) -> Tensor:
        """Latents (..., C, h, w) -> tokens (..., S, V)."""
        p, c = self.config.patch, self.config
        cut = latents.unflatten(-1, (c.width // p, p)).unflatten(-3, (c.height // p, p))  # ..., C, y, p, x, p
        return cut.movedim((-4, -2), (-5, -4)).flatten(-3).flatten(-3, -2)

    def latents(self, patches: Tensor) -> Tensor:
        """The inverse: tokens (..., S, V) -> latents (..., C, h, w)."""
        p, c = self.config.patch, self.config
        cut = patches.unflatten(-2, (c.height // p, c.width // p)).unflatten(-1, (c.latent_channels, p, p))
        return cut.movedim((-5, -4), (-4, -2)).flatten(-4, -3).flatten(-2)

    # Denoising

    def training_pass(
        self,
        clean: Tensor,
        clean_noise: Tensor,
        noisy: Tensor,
        noise: Tensor,
        known: Condition,
        real: Tensor | None = None,
        memory: Memory | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Every frame twice in one sequence: a clean copy that sees clean frames up to itself, and a noisy one that
        sees the clean frames before it and itself. So every frame is a target, and contexts are computed once.

        Args:
            clean, noisy: (B, F, S, V) tokens with noise of their levels (B, F) added.
            real: (B, F) which frames exist, and are remembered; None for all.
            memory: what is read in place of what these frames write.

        Returns:
            The network's output for the noisy frames (B, F, S, V) (see ``denoised``), and the clean frames' features
            (B, F, S, D).
        """
        frames = clean.shape[1]
        levels = torch.cat([clean_noise, noise], 1)
        tokens = torch.cat([self._embedded(clean, clean_noise, True), self._embedded(noisy, noise, False)], 1)
        shown = torch.cat([torch.ones_like(clean_noise), torch.zeros_like(noise)], 1)
        actions, given, place = (torch.cat([x, x], 1) for x in (known.actions, known.given, known.place))
        # A clean frame is asked what to do next, and so is told of the decision that follows it.
        text = known.text.expand(-1, frames, -1)
        twice = Condition(actions, given, place, torch.cat([text[:, 1:], text[:, -1:], text], 1))
        condition = self._condition(levels, shown, twice)
        number = torch.arange(frames, device=clean.device).repeat(2)
        turn = turns(number[None], self.config.dim // self.config.heads // 2)
        sparse = self._sparse.get(frames) if torch.compiler.is_compiling() else None
        mask = None if sparse else pairs_mask(frames, self.tokens, self.config.window, clean.device)
        written = torch.ones_like(clean_noise) if real is None else real
        moved = self._address(twice, number[None])

        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            if sparse is not None:
                return flex_attention(query, key, value, block_mask=sparse)
            return F.scaled_dot_product_attention(query, key, value, mask)

        for at, block in enumerate(self.blocks):
            layer, remember = block.memory, None
            if layer is not None and memory is not None:
                remember = partial(layer.read, memory.layers()[self.memory_blocks[at]], place=moved)
            elif layer is not None:
                remember = partial(layer.training_pass, place=moved, real=written)
            tokens = block(tokens, condition, turn, attend, remember)
        return self._output(tokens[:, frames:]), tokens[:, :frames]

    def prepare(self, frames: int) -> None:
        """Make compiled training passes on so many frames skip the pairs of tokens that don't see each other; on a CUDA
        device."""
        device = self.embed.weight.device
        self._sparse[frames] = pairs_seen(frames, self.tokens, self.config.window, device)

    def empty(self, episodes: int) -> Cache:
        """No frame yet, for so many episodes."""
        c, device = self.config, self.embed.weight.device
        half = torch.is_autocast_enabled(device.type)
        kind = torch.get_autocast_dtype(device.type) if half else self.embed.weight.dtype
        shape = (episodes, c.depth, c.heads, (c.window + 1) * self.tokens, c.dim // c.heads)
        keys, values = (torch.zeros(shape, device=device, dtype=kind) for _ in range(2))
        layers = [self._memory(block).empty(episodes) for block in self.memory_blocks]
        memory = Memory.of_layers(layers) if layers else None
        return Cache(keys, values, torch.zeros(episodes, dtype=torch.int64, device=device), 0, 0, memory)

    def look(
        self,
        window: Window,
        frame: int,
        tokens: Tensor,
        noise: Tensor,
        known: Condition,
        imagined: Tensor,
        remember: bool = True,
    ) -> Tensor:
        """Write a clean frame (N, 1, S, V), shown at its noise level (N, 1), as the new one of that number; returns its
        features (N, 1, S, D). ``imagined`` (N, 1) bool: rather than real. Without ``remember`` the memory layers are
        read but learn nothing."""
        embedded = self._embedded(tokens, noise, True)
        condition = self._condition(noise, torch.ones_like(noise), known)
        found = self._cached(window, frame, embedded, condition, known, imagined if remember else None)
        ends = window.ends_chunk(frame) if remember and window.memory else False
        if ends is not False:
            for block, number in self.memory_blocks.items():
                before = window.memory[number]
                learnt = self._memory(block).learn(before)
                window.memory[number] = learnt if ends is True or learnt is before else learnt.where(ends, before)
        return found

    def denoise(self, window: Window, frame: int, noisy: Tensor, noise: Tensor, known: Condition) -> Tensor:
        """What the noisy frame (N, 1, S, V) of level (N, 1) shows, (N, 1, S, V), as the new one of that number. Its
        keys and values are overwritten by ``look``."""
        embedded = self._embedded(noisy, noise, False)
        condition = self._condition(noise, torch.zeros_like(noise), known)
        found = self._cached(window, frame, embedded, condition, known)
        return denoised(self._output(found), noisy, noise)

    def sample(
        self, window: Window, frame: int, noise: Tensor, known: Condition, levels: Sequence[float] | Tensor
    ) -> Tensor:
        """One new frame (N, 1, S, V) from unit noise of that shape, by Euler's steps along the noise levels, which end
        before zero. Heun's second order is worse with so few steps."""
        made = noise * levels[0]
        for step, level in enumerate(levels):
            told = noise.new_ones(noise.shape[:2]) * level
            clean = self.denoise(window, frame, made, told, known)
            following = levels[step + 1] if step + 1 < len(levels) else 0.0
            made = clean + (made - clean) * (following / level)
        return made

    # Heads

    def features(self, tokens: Tensor) -> Tensor:
        """(..., S, D) of clean frames -> what the heads read (..., features)."""
        return self.squeeze(F.layer_norm(tokens, tokens.shape[-1:])).flatten(-2).float()

    def read(self, features: Tensor) -> Reading:
        """Reward, success, termination, value and state of frames."""
        numbers = self.reader(self._typed(features)).float()
        return Reading(numbers[..., 0], numbers[..., 1], numbers[..., 2], numbers[..., 3], numbers[..., 4:])

    def propose(self, features: Tensor, few: bool = False) -> Tensor:
        """The policy prior's actions (..., A) in [-1, 1] for frames; ``few``: of the one that ten demonstrations a task
        taught."""
        return (self.prior10 if few else self.prior)(self._typed(features)).float().clamp(-1, 1)

    def recollect(self, tokens: Tensor) -> Tensor:
        """The tokens of an episode's first frame (..., S, V), as they are still known in later clean frames'
        (..., S, D); of a network with memory layers of the beginning."""
        return self.beginning(F.layer_norm(tokens, tokens.shape[-1:])).float()

    def between(self, before: Tensor, after: Tensor) -> Tensor:
        """Inverse dynamics: the action (..., A) that leads from one frame's features to the next one's."""
        return self.inverse(self._typed(torch.cat([before, after], -1))).float().tanh()

    # Precision

    def rounded_(self) -> VideoTransformer:
        """Round the weights to bfloat16, but those few that addresses and gates of the memory layers depend on."""
        for name, weight in self.named_parameters():
            if not (".memory." in name and name.rpartition(".")[2] in EXACT):
                weight.data = weight.data.bfloat16()
        return self

    def compile_blocks(self) -> None:
        """Compile what lies between attentions, for this batch size and those that follow."""
        for block in self.blocks:
            block.compile_parts()

    # Parts

    def _memory(self, block: int) -> Layer:
        """Of a block that has one."""
        memory = self.blocks[block].memory
        assert memory is not None
        return memory

    def _typed(self, numbers: Tensor) -> Tensor:
        """In the precision of the weights; autocast may lower it further."""
        return numbers.to(self.embed.weight.dtype)

    def _embedded(self, tokens: Tensor, noise: Tensor, clean: bool) -> Tensor:
        embedded = self.embed(self._typed(tokens / (1 + noise**2).sqrt()[..., None, None]))
        return (embedded + self.position + self.kind[int(clean)]).to(embedded.dtype)

    def _condition(self, noise: Tensor, clean: Tensor, known: Condition) -> Tensor:
        """(B, F, c) from noise levels, clean flags (B, F) and what is known."""
        given = known.given.float()[..., None]
        told = self.noise_in(self._typed(noise_features(noise, clean)))
        told = told + self.action_in(self._typed(torch.cat([known.actions * given, given], -1)))
        place = place_features(known.place[..., : self.config.summed])
        told = told + self.place_in(self._typed(place))
        return F.silu(told + self.text_in(self._typed(known.text)))

    def _cached(
        self,
        window: Window,
        frame: int,
        tokens: Tensor,
        condition: Tensor,
        known: Condition,
        imagined: Tensor | None = None,
    ) -> Tensor:
        """The blocks' output; what memory layers are asked is written if it is told whether it is ``imagined``."""
        slot = window.slot(frame)
        moved = self._address(known, slot.number[:, None]) if self.memory_blocks else None

        def remember(layer: int, asking: Tensor) -> Tensor:
            assert moved is not None
            number, memory = self.memory_blocks[layer], self._memory(layer)
            read = memory.read(window.memory[number], asking, moved)
            if imagined is not None:
                window.memory[number] = memory.write(window.memory[number], asking, moved, imagined)
            return read

        for layer, block in enumerate(self.blocks):
            recalled = None if block.memory is None else partial(remember, layer)
            tokens = block(tokens, condition, slot.turn, partial(window.attend, layer, slot), recalled)
        return tokens

    def _address(self, known: Condition, number: Tensor) -> Tensor:
        """(B, F, M + 1) where frames are written and read: their place, and their age from their number (B, F)."""
        place = known.place[..., : self.config.summed]
        return torch.cat([place, (1 + number.to(place.dtype)).log2()[..., None].expand(*place.shape[:2], 1)], -1)

    def _output(self, tokens: Tensor) -> Tensor:
        return self.out(F.layer_norm(tokens, tokens.shape[-1:])).float()


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two layers."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))


def noise_features(noise: Tensor, clean: Tensor) -> Tensor:
    """Noise levels and clean flags (...) -> (..., 17): sines and cosines of the level's logarithm, and the flag."""
    level = (noise.float().clamp_min(LOWEST_NOISE).log() / 4)[..., None]
    waves = level * torch.exp2(torch.arange(8, device=level.device) * 0.5)
    return torch.cat([waves.sin(), waves.cos(), clean.float()[..., None]], -1)


def place_features(place: Tensor) -> Tensor:
    """(..., M) -> (..., M * 11): a tenth of it, and its sines and cosines."""
    place = place.float()[..., None]
    waves = place * torch.exp2(torch.arange(WAVES, device=place.device) - 2.0)
    return torch.cat([place * 0.1, waves.sin(), waves.cos()], -1).flatten(-2)
