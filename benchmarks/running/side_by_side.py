"""The same actions in the real environment and in imagination, open loop, side by side."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sfvgen_plan.benchmarks.running.episode import Recording
from sfvgen_plan.envs.family import scene_of
from sfvgen_plan.settings import Settings, setting


@dataclass(frozen=True)
class Imagining(Settings):
    """How episodes are imagined."""

    sampler_steps: int = setting(1, "denoising steps of a decision", 1)


SPAN = 8  # decisions whose quality is told together
REST = 8  # frames that a video stays at the end of an episode


def imagined(recording: Recording, simulator: Any) -> np.ndarray:
    """Frames (F, H, W, 3) uint8 of the episode's actions, imagined from its first frame, which is the first of them."""
    import torch

    task, seed = scene_of(recording.job.task), recording.job.seed
    text = simulator.checkpoint.told(task, recording.about)
    state = simulator.begin(recording.frames[None, :1], [task], [seed], [text])
    _, outcome = simulator.imagine(state, torch.from_numpy(recording.actions[None]).to(simulator.device))
    return np.concatenate([recording.frames[:1], simulator.decode(outcome.latents)[0]])


def quality(real: np.ndarray, seen: np.ndarray) -> list[dict[str, float]]:
    """Mean PSNR of every ``SPAN`` decisions, of the imagined frames ``seen`` and of a copy of the start frame."""
    from sfvgen_plan.metrics import psnr

    own, copied = psnr(real[1:], seen[1:]), psnr(real[1:], np.broadcast_to(real[:1], real[1:].shape))
    return [
        {
            "first_decision": first + 1,
            "last_decision": min(first + SPAN, len(own)),
            "psnr_db": float(own[first : first + SPAN].mean()),
            "copy_psnr_db": float(copied[first : first + SPAN].mean()),
        }
        for first in range(0, len(own), SPAN)
    ]


def pictures(recording: Recording, seen: np.ndarray | None) -> Iterator[np.ndarray]:
    """Frames of a video: the real episode, green from its first success on, and on the right of it the imagined one,
    if there is one. It stays at the end for a while."""
    from sfvgen_plan.metrics import psnr
    from sfvgen_plan.video import caption, enlarge

    solved = recording.success.cumsum() > 0
    job, last = recording.job, len(recording.frames) - 1
    for decision, real in enumerate(recording.frames):
        text = f"{job.task}   seed {job.seed}   decision {decision}" + ("   solved" if solved[decision] else "")
        picture = caption(enlarge(real), text, highlight=bool(solved[decision]))
        if seen is not None:
            text = f"imagined   PSNR {psnr(real, seen[decision]):.1f} dB" if decision else "imagined from this frame on"
            picture = np.concatenate([picture, caption(enlarge(seen[decision]), text)], axis=1)
        yield from [picture] * (REST if decision == last else 1)
