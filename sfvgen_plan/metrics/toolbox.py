"""The metrics that can be had on this machine, and why the others can't."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics.encoder import VideoEncoder
from sfvgen_plan.metrics.extras import import_extra
from sfvgen_plan.metrics.frames import SSIM_WINDOW, ssim
from sfvgen_plan.metrics.frechet import I3DFeatures
from sfvgen_plan.metrics.perceptual import SMALLEST, Lpips
from sfvgen_plan.metrics.places import SceneRevisit
from sfvgen_plan.metrics.scenes import scene_cuts
from sfvgen_plan.metrics.weights import WeightsMissing

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
        clip_features: "frechet" (the video encoder's) and "fvd" (I3D's), where they can be had.
        left_out: metric -> reason.
        encoder: digest of the video encoder, or None.
    """

    ssim: Pairs | None = None
    lpips: Pairs | None = None
    src: Pairs | None = None
    scene_cuts: Callable[[np.ndarray], int] | None = None
    frame_features: Features | None = None
    clip_features: Mapping[str, Features] = field(default_factory=dict)
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
        reasons: dict[str, str] = {}

        def try_to(name: str, make: Callable[[], Metric]) -> Metric | None:
            try:
                return make()
            except (WeightsMissing, _Unusable) as error:
                reasons[name] = str(error)
                return None

        def library(name: str, metric: Metric, smallest: int = 1) -> Metric:
            if size < smallest:
                raise _Unusable(f"frames of {size} pixels are too small, it takes {smallest}")
            try:
                import_extra(name)
            except UserError as error:
                raise _Unusable(str(error)) from error
            return metric

        own = VideoEncoder.load(encoder, device) if encoder is not None else None
        if own is None:
            reasons["cosine"] = reasons["frechet"] = "no video encoder was given"
        i3d = try_to("fvd", lambda: I3DFeatures.published(weights, device))
        clip_features: dict[str, Features] = {"frechet": own.clip_features} if own is not None else {}
        if i3d is not None:
            clip_features["fvd"] = i3d
        return cls(
            ssim=try_to("ssim", lambda: library("torchmetrics", ssim, SSIM_WINDOW)),
            lpips=try_to("lpips", lambda: library("torchmetrics", Lpips, SMALLEST).published(weights, device)),
            src=try_to("src", lambda: SceneRevisit.published(weights, device)),
            scene_cuts=try_to("scene_cuts", lambda: library("scenedetect", scene_cuts)),
            frame_features=own.frame_features if own is not None else None,
            clip_features=clip_features,
            left_out=reasons,
            encoder=own.digest if own is not None else None,
        )


class _Unusable(Exception):
    """A metric that can't be had here; the message says why."""
