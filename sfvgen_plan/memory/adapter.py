"""A Temp-LoRA as a PEFT adapter: what an episode has learnt, in a folder that PEFT itself loads.

The adapter's ``A`` is the network's own, shared by all episodes; its ``B`` has the fast weights of the heads on its
diagonal. Beside it stand the sums that the episode goes on learning from.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sfvgen_plan.errors import UserError, reason
from sfvgen_plan.memory.layers import Lora, Memory
from sfvgen_plan.memory.temp_lora import TempLora

if TYPE_CHECKING:
    from sfvgen_plan.model.transformer import VideoTransformer

WEIGHTS_FILE, SUMS_FILE = "adapter_model.safetensors", "sums.safetensors"


def save_adapter(memory: Memory | None, network: VideoTransformer, folder: Path, episode: int = 0) -> None:
    """Write what one episode has learnt; files of the same names are replaced. Raises UserError: the episodes have no
    Temp-LoRA, or the folder can't be written to."""
    from peft import LoraConfig

    if not isinstance(memory, Lora):
        raise UserError("memory: these episodes have no Temp-LoRA to save; imagine in a checkpoint that has one")
    weights: dict[str, Tensor] = {}
    for (block, layer), fast in zip(_layers(network), memory.fast[episode], strict=True):
        name = f"base_model.model.{_name(block)}"
        weights[f"{name}.lora_A.weight"] = layer.down.detach().float()
        weights[f"{name}.lora_B.weight"] = torch.block_diag(*fast[..., : layer.size].float().transpose(1, 2))
    ranks = weights[next(iter(weights))].shape[0]
    targets = [_name(block) for block, _ in _layers(network)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        LoraConfig(r=ranks, lora_alpha=ranks, lora_dropout=0.0, target_modules=targets).save_pretrained(str(folder))
        save_file({key: value.cpu().contiguous() for key, value in weights.items()}, folder / WEIGHTS_FILE)
        sums = {"gram": memory.gram[episode], "cross": memory.cross[episode], "known": memory.fast[episode, ..., -1:]}
        save_file({key: value.cpu().contiguous() for key, value in sums.items()}, folder / SUMS_FILE)
    except OSError as error:
        raise UserError(f"folder={str(folder)!r} can't be written to ({reason(error)}); give another") from error


def load_adapter(folder: Path, network: VideoTransformer) -> Lora:
    """What ``save_adapter`` wrote, as the memory of one episode on the network's device. Raises UserError: no such
    adapter, a damaged one, or one of another network."""
    fast = []
    try:
        weights, sums = load_file(folder / WEIGHTS_FILE), load_file(folder / SUMS_FILE)
        for block, layer in _layers(network):
            name = f"base_model.model.{_name(block)}"
            if not torch.equal(weights[f"{name}.lora_A.weight"], layer.down.detach().float().cpu()):
                raise ValueError("its A is that of another network")
            diagonal = weights[f"{name}.lora_B.weight"].view(layer.heads, layer.size, layer.heads, layer.rank)
            fast.append(diagonal.diagonal(dim1=0, dim2=2).permute(2, 1, 0))
        parts = (torch.cat([torch.stack(fast), sums["known"]], -1), sums["gram"], sums["cross"])
        return Lora(*(part[None].to(network.embed.weight.device) for part in parts))
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise UserError(
            f"memory={str(folder)!r} is no adapter of this checkpoint ({reason(error)}); give a folder that was saved "
            "with it"
        ) from error


def with_adapter(network: VideoTransformer, folder: Path) -> Any:
    """The network with the adapter in PEFT's own hands: what it reads then is what the episode had learnt, whatever
    memory its caches hold. The network itself is changed."""
    from peft import PeftModel

    for _, layer in _layers(network):
        layer.open_to_adapters()
    return PeftModel.from_pretrained(network, str(folder))


def _layers(network: VideoTransformer) -> list[tuple[int, TempLora]]:
    found = [(block, network.blocks[block].memory) for block in network.memory_blocks]
    if not found or not all(isinstance(layer, TempLora) for _, layer in found):
        raise UserError("memory: this checkpoint has no Temp-LoRA; give one of train=memory")
    return found  # type: ignore[return-value]


def _name(block: int) -> str:
    return f"blocks.{block}.memory.adapted"
