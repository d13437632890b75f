"""The metrics that can be had on this machine, and why the others can't."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from sfvgen_plan.metrics.encoder import VideoEncoder
from sfvgen_plan.metrics.frames import SSIM_WINDOW, ssim
from sfvgen_plan.metrics.perceptual import SMALLEST, Lpips
from sfvgen_plan.metrics.places import SceneRevisit
from sfvgen_plan.metrics.scenes import scene_cuts
from sfvgen_plan.metrics.weights import Unavailable, check_side, import_extra

Pairs = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Two arrays of frames (N, H, W, 3) uint8 -> (N,)."""

Features = Callable[[np.ndarray], np.ndarray]
"""Frames or clips (N, ...) uint8 -> (N, D)."""

Metric = TypeVar("Metric")


@dataclass(frozen=True)
class Toolbox:
    """Metrics by name; None for those that are left out, and why in ``left_out``.

    Attributes:
        ssim, lpips, src: of pairs of frames.
        scene_cuts: of a video.
        frame_features: of the video encoder, for the cosine.
        left_out: metric -> reason.
        encoder: digest of the video encoder, or None.
    """

    ssim: Pairs | None = None
    lpips: Pairs | None = None
    src: Pairs | None = None
    scene_cuts: Callable[[np.ndarray], int] | None = None
    frame_features: Features | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    encoder: str | None = None

    @classmethod
    def open(
        cls, size: int, encoder: Path | None = None, weights: Path | None = None, device: str | torch.device = "cpu"
    ) -> Toolbox:
        """Everything that can be had.

        Args:
            size: of the frames, in pixels.
            encoder: folder of a video encoder; None leaves its metrics out.
            weights: folder with published weights; torch's cache is looked through, too.
            device: of the networks.

        Raises:
            UserError: an encoder or weights that are there, but damaged or something else.
        """
        left_out: dict[str, str] = {}

        def attempt(name: str, make: Callable[[], Metric], smallest: int = 1, library: str = "torch") -> Metric | None:
            try:
                check_side(name, (size, size, 3), smallest)
                import_extra(library)
                return make()
            except Unavailable as error:
                left_out[name] = str(error)
                return None

        own = VideoEncoder.load(encoder, device) if encoder is not None else None
        if own is None:
            left_out["cosine"] = "no video encoder was given"
        return cls(
            ssim=attempt("ssim", lambda: ssim, SSIM_WINDOW, "torchmetrics"),
            lpips=attempt("lpips", lambda: Lpips.published(weights, device), SMALLEST, "torchmetrics"),
            src=attempt("src", lambda: SceneRevisit.published(weights, device)),
            scene_cuts=attempt("scene_cuts", lambda: scene_cuts, library="scenedetect"),
            frame_features=own.frame_features if own else None,
            left_out=left_out,
            encoder=own.digest if own else None,
        )
