"""The speed of DIAMOND (Alonso et al. 2024, "Diffusion for World Modeling: Visual Details Matter in Atari"), measured
with its own code: a checkout of github.com/eloialonso/diamond, of which nothing is copied here."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from sfvgen_plan.errors import UserError

logger = logging.getLogger(__name__)

SIZE, ACTIONS = 64, 18  # of Atari's frames, and its buttons


def diamond_steps(folder: Path, device: str, clock: Callable[[Callable[[], object]], float]) -> float:
    """Steps a second of its denoiser and sampler as configured for Atari, compiled where that works, in the faster of
    float32 and bfloat16, at the better of 256 and 1,024 episodes. Its reward model is not counted. Raises UserError: no
    checkout."""
    sampler, context = _sampler(folder, device)
    found = {half: _speed(sampler, context, 256, half, device, clock) for half in (False, True)}
    best = max(found, key=lambda half: found[half])
    return max(found[best], _speed(sampler, context, 1024, best, device, clock))


def _sampler(folder: Path, device: str) -> tuple[Any, int]:
    """Its sampler on its denoiser, untrained, and the number of frames that it sees."""
    import yaml

    sys.path.insert(0, str(folder / "src"))
    # They need Atari and wandb, and the denoiser takes no more from them than names of types.
    for name, kind in (("data", "Batch"), ("utils", "LossAndLogs")):
        stand_in = ModuleType(name)
        setattr(stand_in, kind, Any)
        sys.modules.setdefault(name, stand_in)
    try:
        agent = yaml.safe_load((folder / "config/agent/default.yaml").read_text())["denoiser"]
        trainer = yaml.safe_load((folder / "config/trainer.yaml").read_text())
        from models import diffusion
    except (OSError, ImportError, KeyError) as error:
        raise UserError(
            f"diamond={str(folder)!r} is no checkout of github.com/eloialonso/diamond ({error}); give one"
        ) from None
    inner = {name: value for name, value in agent.pop("inner_model").items() if name != "_target_"}
    agent.pop("_target_")
    config = diffusion.DenoiserConfig(diffusion.InnerModelConfig(**inner, num_actions=ACTIONS), **agent)
    steps = trainer["world_model_env"]["diffusion_sampler"]["num_steps_denoising"]
    sampler = diffusion.DiffusionSamplerConfig(num_steps_denoising=steps)
    denoiser = diffusion.Denoiser(config).to(device).eval()
    return diffusion.DiffusionSampler(denoiser, sampler), inner["num_steps_conditioning"]


def _speed(sampler: Any, context: int, episodes: int, half: bool, device: str, clock: Callable[..., float]) -> float:
    import torch

    frames = torch.rand(episodes, context, 3, SIZE, SIZE, device=device) * 2 - 1
    actions = torch.randint(ACTIONS, (episodes, context), device=device)

    def timed(sample: Callable[..., Any]) -> float:
        def step() -> None:
            with torch.no_grad(), torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=half):
                sample(frames, actions)[0][0, 0, 0, 0].item()  # waits for the device

        return episodes / clock(step)

    if device == "cpu":
        return timed(sampler.sample)
    try:
        torch._dynamo.reset()
        return timed(torch.compile(sampler.sample, mode="reduce-overhead", dynamic=False))  # as its own training does
    except Exception as error:
        logger.warning("DIAMOND can't be compiled here (%r): it is measured as it is", error)
        return timed(sampler.sample)
