"""Registers this package's environments with Gymnasium.

Gymnasium loads no plug-ins by itself: import ``sfvgen_plan`` after ``gymnasium``, or ``sfvgen_plan.envs`` in any order,
before ``gym.make("sfvgen/...")``; or name the package in the id, as in ``gym.make("sfvgen_plan:sfvgen/Metaworld-v0")``.
"""

from gymnasium.envs.registration import register, registry

REAL = {
    "sfvgen/Metaworld-v0": "sfvgen_plan.envs.metaworld.env:MetaworldEnv",
    "sfvgen/Goals-v0": "sfvgen_plan.envs.goals:GoalEnv",
    "sfvgen/RLBench-v0": "sfvgen_plan.envs.rlbench.return_env:rlbench_env",
    "sfvgen/Gym-v0": "sfvgen_plan.envs.gym:GymEnv",
    "sfvgen/Memory-v0": "sfvgen_plan.envs.memory.family:memory_env",
}
"""Ids of real environments and what makes them; the modules are imported when an environment is made."""

IMAGINED = "sfvgen/Imagined-v0"
"""``gym.make_vec`` makes many of it natively; of the others it makes as many single ones as are asked for."""


def register_envs() -> None:
    """Register every environment that is not registered yet; calling it again changes nothing."""
    for env_id, kind in REAL.items():
        if env_id not in registry:
            register(env_id, "sfvgen_plan.envs.real:make_real", kwargs={"kind": kind})
    if IMAGINED not in registry:
        vector = "sfvgen_plan.envs.vector:ImaginedVectorEnv"
        register(IMAGINED, "sfvgen_plan.envs.imagined:ImaginedEnv", vector_entry_point=vector)
