"""How close imagined videos are to real ones.

Each metric is in a module of its own: ``frames`` (PSNR, SSIM), ``perceptual`` (LPIPS), ``places`` (SRC), ``scenes``
(SCuts), ``readouts`` (hand and object error), ``encoder`` (features for the cosine). LPIPS and SRC are defined by
published weights, see ``weights``: without those they can't be had under these names. ``toolbox`` opens all that can be
had here.
"""

from sfvgen_plan.metrics.frames import MAX_PSNR, PEAK, psnr, ssim

__all__ = ["MAX_PSNR", "PEAK", "psnr", "ssim"]
