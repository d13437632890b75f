"""One episode's memory as a PEFT adapter folder, and back.

``adapter_config.json`` and ``adapter_model.safetensors`` are what PEFT reads. Beside them lies ``adam.safetensors``,
which PEFT ignores: Adam's moments and step count, so that learning goes on as if it had never stopped.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sfvgen_plan.errors import UserError, reason
from sfvgen_plan.io import atomic
from sfvgen_plan.memory.weights import Memory, target_layers

CONFIG_FILE, WEIGHTS_FILE, ADAM_FILE = "adapter_config.json", "adapter_model.safetensors", "adam.safetensors"
_PREFIX = "base_model.model."
_PARTS = {"down": "lora_A", "up": "lora_B"}
_UNSUPPORTED = ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "fan_in_fan_out")


def save_memory(memory: Memory, folder: Path, episode: int = 0, base: str | None = None) -> None:
    """Write the memory of imagined episode ``episode`` as a PEFT adapter folder; files of the same names are replaced.

    Args:
        memory: of N imagined episodes.
        folder: made if it is missing.
        episode: 0 to N - 1.
        base: names the denoiser that it adapts, such as ``Checkpoint.hash``; written as PEFT's base model name.

    Raises:
        UserError: no such episode, or the folder can't be written to.
    """
    if not 0 <= episode < len(memory.owner):
        raise UserError(
            f"episode={episode} is not in a memory of {len(memory.owner)}; give 0 to {len(memory.owner) - 1}"
        )
    row = int(memory.owner[episode])
    weights, adam = {}, {"steps": memory.steps[row].cpu().clone()}
    for part, name in _PARTS.items():
        for layer, values in getattr(memory, part).items():
            weights[f"{_PREFIX}{layer}.{name}.weight"] = _alone(values[row])
            for order, moment in zip(("first", "second"), memory.moments[f"{layer}.{part}"], strict=True):
                adam[f"{layer}.{part}.{order}"] = _alone(moment[row])
    rank = next(iter(memory.down.values())).shape[1]
    config = LoraConfig(
        r=rank,
        lora_alpha=memory.scale * rank,  # PEFT only multiplies by it, a fraction will do
        target_modules=sorted(memory.down),
        lora_dropout=0.0,
        base_model_name_or_path=base,
        inference_mode=True,
    )
    # A crash between two files leaves an adapter that loading refuses, for its digest.
    with atomic(folder / WEIGHTS_FILE, "folder") as staged:
        save_file(weights, staged, {"format": "pt"})
        digest = _digest(staged)
    with atomic(folder / ADAM_FILE, "folder") as staged:
        save_file(adam, staged, {"adapter": digest})
    with atomic(folder / CONFIG_FILE, "folder") as staged:
        config.save_pretrained(str(staged.parent))


def load_memory(folder: Path, model: nn.Module, base: str | None = None) -> Memory:
    """Memory of one episode from a PEFT LoRA adapter folder, on the device of ``model``.

    Without ``adam.safetensors``, as in an adapter that PEFT trained, Adam starts afresh.

    Args:
        folder: what ``save_memory`` or PEFT's ``save_pretrained`` wrote.
        model: the denoiser that it adapts.
        base: name of that denoiser; checked where the adapter and the caller both have one.

    Raises:
        UserError: a missing or damaged file, an adapter of another model, or a kind of adapter that is no plain LoRA.
    """
    config = _read_config(folder)
    named = config.get("base_model_name_or_path")
    if base and named and base != named:
        raise UserError(
            f"adapter={str(folder)!r} belongs to the model {named!r}, not to {base!r}; load it on that model"
        )
    layers = target_layers(model)
    tensors, _ = _read_tensors(folder, WEIGHTS_FILE)
    down, up = _split(folder, tensors, dict(model.named_modules()), int(config["r"]))
    device = next(iter(layers.values())).weight.device if layers else torch.device("cpu")
    down, up = ({k: v.to(device)[None] for k, v in part.items()} for part in (down, up))
    moments, steps = _read_adam(folder, down, up)
    one = torch.zeros(1, dtype=torch.int64, device=device)
    return Memory(down, up, moments, one + steps, one, float(config["lora_alpha"]) / int(config["r"]))


def _alone(values: Tensor) -> Tensor:
    """A copy that shares no storage, as safetensors wants it."""
    return values.detach().to("cpu", torch.float32, copy=True).contiguous()


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _damaged(folder: Path, file: str, reason: object) -> UserError:
    return UserError(f"adapter={str(folder)!r}: {file} is missing or damaged ({reason}); save the memory again")


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG_FILE).read_text())
        rank, alpha, kind = int(config["r"]), float(config["lora_alpha"]), config["peft_type"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(folder, CONFIG_FILE, reason(error)) from error
    if rank < 1 or not math.isfinite(alpha):
        raise _damaged(folder, CONFIG_FILE, f"r={rank}, lora_alpha={alpha}")
    extras = [name for name in _UNSUPPORTED if config.get(name)]
    extras += [f"bias={config['bias']}"] if config.get("bias", "none") != "none" else []
    if kind != "LORA" or extras:
        raise UserError(
            f"adapter={str(folder)!r} is of kind {' '.join([str(kind), *extras])}; a memory is a LoRA of one rank, "
            "without extras"
        )
    return config


def _read_tensors(folder: Path, file: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(folder / file, "pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
            return tensors, opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _damaged(folder, file, reason(error)) from error


def _split(
    folder: Path, tensors: dict[str, Tensor], modules: dict[str, nn.Module], rank: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """LoRA A and B by layer name, checked against the model's layers."""
    found: dict[str, dict[str, Tensor]] = {"down": {}, "up": {}}
    for key, values in tensors.items():
        layer, _, name = key.removeprefix(_PREFIX).removesuffix(".weight").rpartition(".")
        part = next((part for part, known in _PARTS.items() if known == name), None)
        module = modules.get(layer)
        if part is None or not isinstance(module, nn.Linear):
            raise _foreign(folder, f"the model has no linear layer for {key}")
        wanted = (rank, module.in_features) if part == "down" else (module.out_features, rank)
        if tuple(values.shape) != wanted:
            raise _foreign(folder, f"{key} has shape {tuple(values.shape)}, the model needs {wanted}")
        found[part][layer] = values.float()
    if not found["down"] or found["down"].keys() != found["up"].keys():
        raise _damaged(folder, WEIGHTS_FILE, "LoRA A and B don't name the same layers")
    return found["down"], {layer: found["up"][layer] for layer in found["down"]}


def _foreign(folder: Path, reason: str) -> UserError:
    return UserError(
        f"adapter={str(folder)!r} belongs to another model: {reason}; load it on the model it was saved from"
    )


def _read_adam(
    folder: Path, down: dict[str, Tensor], up: dict[str, Tensor]
) -> tuple[dict[str, tuple[Tensor, Tensor]], int]:
    """Moments and step count; zeros where the adapter has none."""
    weights = {f"{k}.down": v for k, v in down.items()} | {f"{k}.up": v for k, v in up.items()}
    if not (folder / ADAM_FILE).exists():
        return {name: (torch.zeros_like(v), torch.zeros_like(v)) for name, v in weights.items()}, 0
    tensors, metadata = _read_tensors(folder, ADAM_FILE)
    if metadata.get("adapter") != _digest(folder / WEIGHTS_FILE):
        raise UserError(
            f"adapter={str(folder)!r}: {ADAM_FILE} belongs to other weights than {WEIGHTS_FILE}; "
            "delete it to let Adam start afresh"
        )
    try:
        moments = {
            name: (
                tensors[f"{name}.first"].to(v.device).reshape(v.shape),
                tensors[f"{name}.second"].to(v.device).reshape(v.shape),
            )
            for name, v in weights.items()
        }
        return moments, int(tensors["steps"])
    except (KeyError, RuntimeError) as error:
        raise _damaged(folder, ADAM_FILE, reason(error)) from error
