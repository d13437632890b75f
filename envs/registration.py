"""Registration with Gymnasium, see ``sfvgen_plan.registration``."""

from sfvgen_plan.registration import ENVIRONMENTS, register_envs

__all__ = ["ENVIRONMENTS", "register_envs"]
