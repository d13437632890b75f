"""A training step of the video stage: its time, and the share of the device's bf16 peak that it reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from sfvgen_plan.learning.recipe import VideoSettings, VideoStageSettings
    from sfvgen_plan.model.transformer import VideoTransformer

Clock = Callable[[Callable[[], object]], float]  # mean seconds of a call
PRODUCTS = 16  # matrix products in a timed call


def training_step(network: VideoTransformer, stage: VideoStageSettings, clock: Clock) -> tuple[float, float]:
    """Seconds of a compiled step (losses, gradients, clipping, AdamW, average) on a batch that is there already, and
    the share of the device's peak: the operations of losses and gradients over those of a large matrix product in bf16
    for as long. Of attention only the pairs count that see each other. A network of the same shape is trained, not this
    one."""
    import torch
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
    from torch.utils.flop_counter import FlopCounterMode

    from sfvgen_plan.learning.trainer import training_precision
    from sfvgen_plan.learning.video import VideoObjective
    from sfvgen_plan.model.attention import pairs_mask

    device = network.embed.weight.device
    objective = VideoObjective(type(network).from_config(network.config).to(device).train(), stage.learning)
    average = AveragedModel(objective, multi_avg_fn=get_ema_multi_avg_fn(stage.fit.ema))
    optimizer = torch.optim.AdamW(objective.parameters(), stage.fit.learning_rate, fused=device.type == "cuda")
    batch = random_batch(objective.network, stage.fit.batch, stage.learning)

    def gradients() -> None:
        with training_precision(device):
            loss = objective(**batch)["loss"]
        loss.backward()

    def step() -> None:
        gradients()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), stage.fit.clip)
        optimizer.step()
        optimizer.zero_grad()
        average.update_parameters(objective)
        next(objective.parameters()).sum().item()  # waits for the device

    with FlopCounterMode(display=False) as counter:
        gradients()
    optimizer.zero_grad()
    counts = counter.get_flop_counts()["Global"]
    attention = sum(count for operation, count in counts.items() if "scaled_dot_product" in str(operation))
    pairs = pairs_mask(stage.learning.frames, 1, network.config.window, device).float().mean().item()
    operations = sum(counts.values()) - (1 - pairs) * attention
    if device.type == "cuda":
        objective.network.prepare(stage.learning.frames)
        objective.compile(dynamic=False)
    seconds = clock(step)
    size = 8192 if device.type == "cuda" else 256
    left, right = torch.randn(2, size, size, device=device, dtype=torch.bfloat16)

    def multiply() -> None:
        products = [left @ right for _ in range(PRODUCTS)]
        products[-1][0, 0].item()

    peak = PRODUCTS * 2 * size**3 / clock(multiply)
    return seconds, operations / seconds / peak


def random_batch(network: VideoTransformer, size: int, learning: VideoSettings) -> dict[str, Tensor]:
    """What ``VideoObjective`` is called with, of random numbers."""
    import torch

    config, lead, device = network.config, (size, learning.frames), network.embed.weight.device
    pictures = (*lead, network.tokens, network.embed.in_features)
    shapes = {
        "truth": pictures, "shown": pictures, "shown_noise": lead, "noisy": pictures, "noise": lead,
        "actions": (*lead, config.action_dim), "given": lead, "place": (*lead, config.action_dim),
        "text": (*lead, config.text_dim), "labels": (*lead, 9), "estimates": (*lead, config.readouts),
        "expert": (*lead, config.action_dim),
    }  # fmt: skip
    generator = torch.Generator(device).manual_seed(0)
    batch = {name: torch.rand(shape, device=device, generator=generator) for name, shape in shapes.items()}
    return batch | {"alone": torch.randint(learning.frames, (size, learning.alone), device=device, generator=generator)}
