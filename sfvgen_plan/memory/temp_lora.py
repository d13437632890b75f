"""The Temp-LoRA that is taught to learn: fast weights of an episode, of fixed size. Shapes: see ``memory.layers``."""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_plan.memory.layers import Address, Lora

CHUNK = 8  # decisions after which fast learning takes its steps: what is read changes then


class TempLora(nn.Module):
    """A linear layer of the address, ``W u``, beside which an episode has a LoRA ``B A u``: ``A`` slow and shared,
    ``B`` fast and of the episode.

    ``B`` is written by a few gradient steps of ½ Σ β |B A u - v|² over all frames of the episode, of which only two
    sums are kept. Each head learns the tokens of one group first: heads that learn the same ones disturb each other.

    Args:
        dim: D. places: M. tokens: S. number: of this layer among the memory layers. beginning: see ``memory.layers``.
        features: K. heads: H. rank: r, of each head. groups: of tokens. steps: gradient steps a chunk.
    """

    def __init__(
        self,
        dim: int,
        places: int,
        tokens: int,
        number: int = 0,
        beginning: bool = False,
        features: int = 256,
        heads: int = 4,
        rank: int = 128,
        groups: int = 4,
        steps: int = 4,
    ) -> None:
        super().__init__()
        self.heads, self.rank, self.steps, self.size = heads, rank, steps, dim // heads
        self.address = Address(dim, places, tokens, features, beginning)
        self.slow = nn.Linear(features, dim)
        nn.init.normal_(self.slow.weight, std=0.1 / math.sqrt(features))
        self.down = nn.Parameter(torch.randn(heads * rank, features) / math.sqrt(features))
        self.value, self.strength = nn.Linear(dim, dim), nn.Linear(dim, heads)
        self.out = nn.Linear(dim, dim)
        own = torch.arange(tokens)[:, None] % groups == (number * heads + torch.arange(heads)) % groups
        self.own = nn.Parameter(torch.where(own, 3.0, -5.0))  # (S, H): whose tokens a head learns and is asked for
        self.least = nn.Parameter(torch.full((heads,), -3.0))  # the smallest eigenvalue that steps are made for
        self.forget = nn.Parameter(torch.full((heads,), -6.0))
        self.adapted: nn.Module | None = None

    def open_to_adapters(self) -> None:
        """Have a linear layer of zeros, ``adapted``, for PEFT to put ``B A`` beside."""
        self.adapted = nn.Linear(self.down.shape[1], self.heads * self.size, bias=False).to(self.down)
        nn.init.zeros_(self.adapted.weight)

    def empty(self, episodes: int) -> Lora:
        """Nothing learnt yet; one layer (L = 1)."""
        none = self.down.new_zeros(episodes, 1, self.heads, self.rank, self.rank, dtype=torch.float32)
        fast = self.down.new_zeros(episodes, 1, self.heads, self.rank, self.size + 1, dtype=torch.float32)
        return Lora(fast, none, fast)

    def training_pass(self, tokens: Tensor, place: Tensor, real: Tensor) -> Tensor:
        """What 2 F frames (B, 2 F, S, D) read, clean copies first: each what the clean frames of earlier chunks wrote.
        place (B, 2 F, M + 1); real (B, F) says which frames exist."""
        frames = real.shape[1]
        chunks = -(-frames // CHUNK)
        written, found = self.address.written_and_asked(tokens, place, frames)
        low = self._low(written).float()
        gram, cross = self._sums(low, tokens[:, :frames], place[:, :frames], real[..., None, None], CHUNK)
        states = [torch.zeros_like(cross[:, 0])]
        with torch.autocast(tokens.device.type, enabled=False):
            keep = 1 - self.forget.float().sigmoid()[:, None, None]
            total, crossed = torch.zeros_like(gram[:, 0]), torch.zeros_like(states[0])
            grams, crosses = [], []
            for chunk in range(chunks - 1):
                total, crossed = keep * total + gram[:, chunk], keep * crossed + cross[:, chunk]
                grams.append(total)
                crosses.append(crossed)
            if grams:
                shrink, added = self._descent(torch.stack(grams, 1), torch.stack(crosses, 1))
                for chunk in range(chunks - 1):
                    states.append(states[-1] + shrink[:, chunk] @ states[-1] + added[:, chunk])
        # All that a chunk's frames ask, clean and noisy, is answered at once: (B, chunks, H, 2 CHUNK S, r).
        asked = F.pad(self._low(found).unflatten(1, (2, frames)), (0, 0) * 3 + (0, chunks * CHUNK - frames))
        asked = asked.unflatten(2, (chunks, CHUNK)).permute(0, 2, 4, 1, 3, 5, 6)
        heard = asked.flatten(3, 5) @ torch.stack(states, 1).to(asked.dtype)
        heard = heard.unflatten(3, asked.shape[3:6]).permute(0, 3, 1, 4, 5, 2, 6).flatten(2, 3)[:, :, :frames]
        return self._answer(found, heard.flatten(1, 2))

    def write(self, memory: Lora, tokens: Tensor, place: Tensor, imagined: Tensor) -> Lora:
        """See ``Layer``: the memory with the frame among its sums; what is read stays until ``learn``."""
        low = self._low(self.address(tokens, place)).float()
        known = (low @ memory.fast[..., -1:])[..., 0].clamp(0, 1)
        weight = (1 - known.transpose(2, 3) * imagined[..., None, None]).square()
        gram, cross = self._sums(low, tokens, place, weight, 1, ones=True)
        return replace(memory, gram=memory.gram + gram, cross=memory.cross + cross)

    def learn(self, memory: Lora) -> Lora:
        """Fast learning at the end of a chunk."""
        with torch.autocast(memory.fast.device.type, enabled=False):
            shrink, added = self._descent(memory.gram, memory.cross)
            keep = 1 - self.forget.float().sigmoid()[:, None, None]
            fast = memory.fast + shrink @ memory.fast + added
            return Lora(fast, keep * memory.gram, keep * memory.cross)

    def read(self, memory: Lora, tokens: Tensor, place: Tensor) -> Tensor:
        """What frames (N, F, S, D) read."""
        found = self.address(tokens, place, asking=True)
        low = self._low(found)
        return self._answer(found, (low @ memory.fast[..., : self.size].to(low.dtype)).transpose(2, 3))

    def _low(self, found: Tensor) -> Tensor:
        """φ = A u, gated by whose tokens a head learns: (B, F, S, K) -> (B, F, H, S, r)."""
        low = (found @ self.down.t().to(found.dtype)).unflatten(-1, (self.heads, self.rank))
        return (low * self.own.sigmoid()[..., None].to(low.dtype)).transpose(2, 3)

    def _answer(self, found: Tensor, recalled: Tensor) -> Tensor:
        """found (B, F, S, K), and what the heads recall there (B, F, S, H, v) -> (B, F, S, D)."""
        if self.adapted is not None:
            gate = self.own.sigmoid()[..., None].to(recalled.dtype)
            recalled = recalled + gate * self.adapted(found).unflatten(-1, (self.heads, self.size))
        return self.out(self.slow(found) + recalled.flatten(-2))

    def _sums(
        self, low: Tensor, tokens: Tensor, place: Tensor, share: Tensor, length: int, ones: bool = False
    ) -> tuple[Tensor, Tensor]:
        """β φ φᵀ and β φ vᵀ of clean frames (B, F, ...) whose φ are ``low``, summed over chunks: (B, chunks, H, r, r),
        (..., r, v); ``share`` (B, F, S or 1, H or 1) of each that is written; ``ones``: beside each value."""
        frames = tokens.shape[1]
        chunks = -(-frames // length)
        if self.address.beginning:  # as much weight for the first frame as for a hundred late ones
            share = share * torch.exp2(-place[..., -1:, None])
        value = self.value(tokens).float().unflatten(-1, (self.heads, self.size)).transpose(2, 3)
        if ones:
            value = F.pad(value, (0, 1), value=1.0)
        weight = (self.strength(tokens).float() + self.own).sigmoid() * share
        weighted = low * weight.transpose(2, 3)[..., None]
        missing = chunks * length - frames
        low, value, weighted = (
            F.pad(x, (0, 0) * 3 + (0, missing)).unflatten(1, (chunks, length)).transpose(2, 3).flatten(3, 4)
            for x in (low, value, weighted)
        )  # (B, chunks, H, length * S, ...)
        with torch.autocast(tokens.device.type, enabled=False):
            return weighted.transpose(-1, -2) @ low, weighted.transpose(-1, -2) @ value

    def _descent(self, gram: Tensor, cross: Tensor) -> tuple[Tensor, Tensor]:
        """(..., H, r, r) and (..., H, r, v): ``steps`` gradient steps make B into B + M B + N. Their sizes are
        Chebyshev's for eigenvalues between ``least`` and 1 times the largest, stable whatever ``least`` is."""
        with torch.no_grad():  # the 8-norm of the eigenvalues is no less than the largest
            size = gram.diagonal(dim1=-2, dim2=-1).sum(-1).clamp_min(1e-6)[..., None, None]
            power = gram / size
            power = power @ power
            power = power @ power
            size = size * power.square().sum((-1, -2), keepdim=True).clamp_min(1e-30) ** 0.125
            size = size.clamp_min(1e-3)
        least, eye = self.least.float().sigmoid()[:, None, None], torch.eye(self.rank, device=gram.device)
        inverse: Tensor | None = None
        for step in range(self.steps):
            root = math.cos(math.pi * (2 * step + 1) / (2 * self.steps))
            rate = 2 / ((1 + least) + (1 - least) * root) / size
            inverse = rate * eye if inverse is None else inverse + rate * (eye - gram @ inverse)
        assert inverse is not None
        return -inverse @ gram, inverse @ cross
