"""Temp-LoRA weights of many episodes in one batch, as a value that is never changed in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from operator import attrgetter

import torch
from torch import Tensor, nn

from sfvgen_plan.errors import UserError
from sfvgen_plan.model import noise

ATTENTION_PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
"""The layers that Temp-LoRA adapts by default: every attention projection of the denoiser."""

Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]


@dataclass(frozen=True)
class Memory:
    """Temp-LoRA of M episodes: adapter weights and Adam moments, per layer, each with a leading episode dimension.

    Attributes:
        down: layer name -> (M, rank, in) LoRA A.
        up: layer name -> (M, out, rank) LoRA B; zero at the start of an episode.
        moments: (first, second) Adam moments of ``down`` and ``up``, keyed ``layer.down`` and ``layer.up``.
        steps: (M,) learning steps taken.
        owner: (N,) which of the M memories each imagined episode uses; forks share one without copies.
        scale: alpha / rank.
    """

    down: dict[str, Tensor]
    up: dict[str, Tensor]
    moments: dict[str, tuple[Tensor, Tensor]]
    steps: Tensor
    owner: Tensor
    scale: float

    def owned(self) -> Memory:
        """The same memory with one set of weights per imagined episode, so that each can learn alone."""
        if len(self.owner) == len(self.steps) and _in_groups(self):
            return self
        pick = self.owner
        return Memory(
            {k: v[pick] for k, v in self.down.items()},
            {k: v[pick] for k, v in self.up.items()},
            {k: (a[pick], b[pick]) for k, (a, b) in self.moments.items()},
            self.steps[pick],
            torch.arange(len(pick), device=pick.device),
            self.scale,
        )

    def select(self, index: Tensor) -> Memory:
        """Memory of the imagined episodes named by ``index``; the weights are shared, not copied."""
        return Memory(self.down, self.up, self.moments, self.steps, self.owner[index], self.scale)

    def replaced(self, index: Tensor, part: Memory) -> Memory:
        """The same memory, but for the imagined episodes named by ``index``: those get the memories of ``part``, of the
        same rank and layers, in that order."""
        whole, new = self.owned(), part.owned()

        def put(old: Tensor, values: Tensor) -> Tensor:
            return old.index_copy(0, index, values.to(old))

        return Memory(
            {k: put(v, new.down[k]) for k, v in whole.down.items()},
            {k: put(v, new.up[k]) for k, v in whole.up.items()},
            {k: (put(a, new.moments[k][0]), put(b, new.moments[k][1])) for k, (a, b) in whole.moments.items()},
            put(whole.steps, new.steps),
            whole.owner,
            whole.scale,
        )


def stack(memories: Sequence[Memory]) -> Memory:
    """One batch from the memories of single episodes."""
    whole = [memory.owned() for memory in memories]
    first = whole[0]
    count = sum(len(memory.steps) for memory in whole)
    return Memory(
        {k: torch.cat([m.down[k] for m in whole]) for k in first.down},
        {k: torch.cat([m.up[k] for m in whole]) for k in first.up},
        {
            k: (torch.cat([m.moments[k][0] for m in whole]), torch.cat([m.moments[k][1] for m in whole]))
            for k in first.moments
        },
        torch.cat([m.steps for m in whole]),
        torch.arange(count, device=first.steps.device),
        first.scale,
    )


def target_layers(model: nn.Module, targets: Sequence[str] = ATTENTION_PROJECTIONS) -> dict[str, nn.Linear]:
    """The linear layers whose name ends with one of ``targets``, or matches one that has a ``*``.

    Raises:
        UserError: there are none.
    """

    def wanted(name: str) -> bool:
        return any(fnmatchcase(name, t) if "*" in t else name == t or name.endswith("." + t) for t in targets)

    layers = {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear) and wanted(name)}
    if not layers:
        raise UserError(
            f"targets={list(targets)} name no linear layer of the model; give ends of names, such as to_q, or patterns"
        )
    return layers


def fresh_memory(
    model: nn.Module, seeds: Tensor, rank: int = 32, alpha: float = 32.0, targets: Sequence[str] = ATTENTION_PROJECTIONS
) -> Memory:
    """An empty memory for every seed (N,): A is Kaiming-uniform as in PEFT, B is zero, so it has no effect yet."""
    down, up, moments = {}, {}, {}
    for position, (name, layer) in enumerate(target_layers(model, targets).items()):
        bound = 1 / math.sqrt(layer.in_features)
        raw = noise.uniform(seeds, torch.zeros_like(seeds), rank * layer.in_features, stream=1000 + position)
        down[name] = (raw * 2 - 1).mul(bound).reshape(-1, rank, layer.in_features)
        up[name] = raw.new_zeros(len(seeds), layer.out_features, rank)
        for part, weight in (("down", down[name]), ("up", up[name])):
            moments[f"{name}.{part}"] = (torch.zeros_like(weight), torch.zeros_like(weight))
    count = torch.arange(len(seeds), device=seeds.device)
    return Memory(down, up, moments, torch.zeros_like(count), count, alpha / rank)


@contextmanager
def applied(model: nn.Module, memory: Memory | None) -> Iterator[None]:
    """Within the block every adapted layer adds each episode's own Θ: one batched product serves all episodes.

    The batch must hold the N imagined episodes in order, episode-major (as the UNet's frames and pixels are).
    """
    if memory is None:
        yield
        return
    down, up = memory.down, memory.up
    if not _in_groups(memory):
        down, up = ({name: values[memory.owner] for name, values in part.items()} for part in (down, up))
    with hooked(model, down, up, memory.scale):
        yield


@contextmanager
def hooked(model: nn.Module, down: dict[str, Tensor], up: dict[str, Tensor], scale: float) -> Iterator[None]:
    """As ``applied``, for weights (M, ...) of which each serves as many successive episodes. Waits for no device."""
    handles = []
    try:
        for name in down:
            layer = attrgetter(name)(model)  # several times as fast as get_submodule
            handles.append(layer.register_forward_hook(_adapter(layer, down[name], up[name], scale)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _in_groups(memory: Memory) -> bool:
    """Whether equally many successive episodes share each memory, in order, so that forks need no copies."""
    total, sets = len(memory.owner), len(memory.steps)
    if sets == 1:
        return True  # without a comparison, which would wait for the device
    if total % sets:
        return False
    return bool((memory.owner == torch.arange(total, device=memory.owner.device) // (total // sets)).all())


def _adapter(layer: nn.Linear, down: Tensor, up: Tensor, scale: float) -> Hook:
    # Cast once, not in every pass. Adding BA to the layer's weight instead would be cheaper still, but in bfloat16 that
    # rounds away most of what a few steps have learnt.
    dtype = computed_in(layer.weight)
    inward, outward = down.to(dtype).transpose(1, 2), up.to(dtype).transpose(1, 2)
    sets, width, height = len(down), down.shape[2], up.shape[1]

    def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        low = torch.bmm(inputs[0].reshape(sets, -1, width), inward)
        return torch.baddbmm(output.reshape(sets, -1, height), low, outward, alpha=scale).reshape(output.shape)

    return hook


def computed_in(values: Tensor) -> torch.dtype:
    """The type that products with ``values`` are computed in here."""
    kind = values.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else values.dtype
