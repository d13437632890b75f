"""Registers this package's environments with Gymnasium.

Gymnasium loads no plug-ins by itself: import ``sfvgen_plan`` after ``gymnasium``, or ``sfvgen_plan.envs`` in any order,
before ``gym.make("sfvgen/...")``; or name the package in the id, as in ``gym.make("sfvgen_plan:sfvgen/Metaworld-v0")``.
"""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

ENVIRONMENTS = {
    "sfvgen/Metaworld-v0": "sfvgen_plan.envs.metaworld:MetaworldEnv",
    "sfvgen/Imagined-v0": "sfvgen_plan.envs.imagined:ImaginedEnv",
}
"""Ids and where their classes are; the modules are imported when an environment is made."""


def register_envs() -> None:
    """Register every environment that is not registered yet; calling it again changes nothing."""
    for env_id, entry_point in ENVIRONMENTS.items():
        if env_id not in registry:
            register(id=env_id, entry_point=entry_point)
