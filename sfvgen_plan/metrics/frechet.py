"""Fréchet distances of sets of videos: FVD (Unterthiner et al. 2018) where I3D's weights are there.

The same distance on features of ``sfvgen_plan.metrics.encoder`` goes by the name of "Fréchet distance": its values
can't be compared with anybody's FVD.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics.weights import I3D

CLIP = 16
"""Frames of a clip that one feature vector is taken from."""


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Squared Fréchet distance of the Gaussians with the means and covariances of two sets of features (N, D), (M, D).

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), covariances with N - 1 in the denominator as in FVD's original code.

    Raises:
        UserError: fewer than two feature vectors in a set.
    """
    if min(len(first), len(second)) < 2:
        raise UserError(f"clips={min(len(first), len(second))} have no covariance; give at least 2 in each set")
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    shift = first.mean(0) - second.mean(0)
    one, other = (np.atleast_2d(np.cov(part, rowvar=False)) for part in (first, second))
    # The eigenvalues of S1 S2 are those of S1^(1/2) S2 S1^(1/2), which is symmetric: no complex roots to round away.
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other @ root), 0)).sum()
    return float(max(0.0, shift @ shift + np.trace(one) + np.trace(other) - 2 * overlap))


def clips(video: np.ndarray, length: int = CLIP) -> np.ndarray:
    """Frames (T, H, W, 3) -> (T // length, length, H, W, 3), one after the other; what is left over is not used."""
    count = len(video) // length
    return video[: count * length].reshape(count, length, *video.shape[1:])


class I3DFeatures:
    """What FVD compares: I3D's logits on Kinetics-400, from the TorchScript file that StyleGAN-V's FVD made common."""

    def __init__(self, network: Any, device: str | torch.device = "cpu") -> None:
        self.network, self.device = network, device

    @classmethod
    def published(cls, folder: Path | None = None, device: str | torch.device = "cpu") -> I3DFeatures:
        """With the published weights.

        Raises:
            Unavailable: they are not there. UserError: they are something else.
        """
        return cls(torch.jit.load(str(I3D.find(folder)), map_location=device).eval(), device)

    @torch.inference_mode()
    def __call__(self, videos: np.ndarray, batch: int = 4) -> np.ndarray:
        """Clips (N, T, H, W, 3) uint8 -> features (N, 400) float32."""
        parts = []
        for part in torch.from_numpy(videos).split(batch):
            given = part.to(self.device).movedim(-1, 1).float()
            parts.append(self.network(given, rescale=True, resize=True, return_features=True))
        return torch.cat(parts).cpu().numpy()
