"""Gymnasium environments. Importing this package registers ``sfvgen/Metaworld-v0`` and ``sfvgen/Imagined-v0``."""

from sfvgen_plan.registration import register_envs

register_envs()
