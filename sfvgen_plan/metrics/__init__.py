"""How close imagined videos are to real ones: ``frames`` (PSNR), ``encoder`` (cosine of features), ``scenes`` (scene
cuts), ``readouts`` (errors of hand and object)."""

from sfvgen_plan.metrics.frames import MAX_PSNR, psnr

__all__ = ["MAX_PSNR", "psnr"]
