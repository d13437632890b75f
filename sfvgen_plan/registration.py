"""Registers this package's environments with Gymnasium.

Gymnasium loads no plug-ins by itself: import ``sfvgen_plan`` after ``gymnasium``, or ``sfvgen_plan.envs`` in any order,
before ``gym.make("sfvgen/...")``; or name the package in the id, as in ``gym.make("sfvgen_plan:sfvgen/Metaworld-v0")``.
"""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

ENVIRONMENTS = {
    "sfvgen/Metaworld-v0": "sfvgen_plan.envs.metaworld.env:make_metaworld",
    "sfvgen/Goals-v0": "sfvgen_plan.envs.goals.env:make_goal",
    "sfvgen/RLBench-v0": "sfvgen_plan.envs.rlbench.return_env:make_rlbench",
    "sfvgen/Gym-v0": "sfvgen_plan.envs.gym.env:GymEnv",
    "sfvgen/Memory-v0": "sfvgen_plan.envs.memory.make:make_memory",
    "sfvgen/Imagined-v0": "sfvgen_plan.envs.imagined:ImaginedEnv",
}
"""Ids and what makes them; the modules are imported when an environment is made."""

VECTOR_ENVIRONMENTS = {"sfvgen/Imagined-v0": "sfvgen_plan.envs.vector:ImaginedVectorEnv"}
"""Those of them that ``gym.make_vec`` makes natively; of the others it makes as many single ones as are asked for."""


def register_envs() -> None:
    """Register every environment that is not registered yet; calling it again changes nothing."""
    for env_id, entry_point in ENVIRONMENTS.items():
        if env_id not in registry:
            register(id=env_id, entry_point=entry_point, vector_entry_point=VECTOR_ENVIRONMENTS.get(env_id))
