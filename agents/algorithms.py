"""What is set of agents of Stable-Baselines3 that learn: how they are trained, and the numbers of each algorithm.

Nothing heavy is imported, so that a mistyped setting is told at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from sfvgen_plan.errors import UserError, unknown_name
from sfvgen_plan.settings import setting

ONLY_IMAGINED = ("sampler_steps", "futures", "uncertainty_penalty")


@dataclass(frozen=True)
class TrainingSettings:
    """How an agent is trained, its algorithm's own numbers apart.

    Raises:
        UserError: ``real``, together with what only imagination has; a number that makes no sense.
    """

    real: bool = setting(False, "learn in the real simulator instead, to compare with; begins anew if killed")
    obs_mode: str = setting("state", "what the agent sees: pixels, latent or state")
    num_envs: int = setting(32, "episodes side by side: imagined in one batch, real ones in a process per core")
    decisions: int = setting(200_000, "taken in all, rounded up to what the algorithm collects at a time")
    horizon: int = setting(50, "decisions until an episode is cut off and begins anew")
    sampler_steps: int = setting(1, "denoising steps of an imagined decision")
    memory: bool | None = setting(None, "remember what an episode showed; null: if the checkpoint has memory layers")
    reward_scale: float | None = setting(None, "multiplies rewards; null: so that the largest is 1")
    futures: int = setting(1, "futures imagined of each decision; above 1 their disagreement is the uncertainty")
    uncertainty_penalty: float = setting(0.0, "reward lost per unit of uncertainty; needs futures of at least 2")
    policy_device: str = setting("cpu", "where the policy's own networks are; small ones are faster on the CPU")
    save_every: int = setting(5000, "decisions between two states that a killed run goes on from; 0 saves none")

    def __post_init__(self) -> None:
        for name in ("num_envs", "horizon", "decisions"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)} is too small; give at least 1")
        if self.save_every < 0:
            raise UserError(f"save_every={self.save_every} makes no sense; give 0 to save no states, or more")
        for name in ("reward_scale", "uncertainty_penalty"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and math.isfinite(value)):
                raise UserError(f"{name}={value} is no finite number; give one")
        for field in fields(self):
            value = getattr(self, field.name)
            if self.real and field.name in ONLY_IMAGINED and value != field.default:
                raise UserError(
                    f"{field.name}={value} has no meaning with real=True, as only imagination has it; "
                    f"leave it at {field.default}, or learn with real=False"
                )


@dataclass(frozen=True)
class PPO:
    """Proximal policy optimisation; the names are Stable-Baselines3's."""

    learning_rate: float = setting(0.0003, "of Adam")
    n_steps: int = setting(50, "decisions of each episode side by side between two updates")
    batch_size: int = setting(400, "decisions of a gradient step")
    n_epochs: int = setting(10, "times that every decision is learned from")
    gamma: float = setting(0.97, "discount of a decision")
    gae_lambda: float = setting(0.95, "of the advantage estimate")
    clip_range: float = setting(0.2, "most that the policy may change")
    ent_coef: float = setting(0.0, "weight of the entropy")
    net_arch: tuple[int, ...] = setting((256, 256), "widths of the networks")


@dataclass(frozen=True)
class _OffPolicy:
    learning_rate: float = setting(0.0003, "of Adam")
    buffer_size: int = setting(500_000, "decisions that are kept")
    learning_starts: int = setting(3200, "decisions before the first update")
    batch_size: int = setting(256, "decisions of a gradient step")
    tau: float = setting(0.005, "share by which the target networks follow")
    gamma: float = setting(0.97, "discount of a decision")
    train_freq: int = setting(1, "decisions of each episode side by side between two updates")
    gradient_steps: int = setting(8, "of an update")
    net_arch: tuple[int, ...] = setting((256, 256), "widths of the networks")


@dataclass(frozen=True)
class SAC(_OffPolicy):
    """Soft actor-critic; the names are Stable-Baselines3's."""

    ent_coef: str = setting("auto", "weight of the entropy: auto, or auto_0.1 to begin at 0.1")


@dataclass(frozen=True)
class TD3(_OffPolicy):
    """Twin delayed deterministic policy gradients; the names are Stable-Baselines3's, but for noise."""

    policy_delay: int = setting(2, "updates of the critics for one of the policy")
    noise: float = setting(0.2, "deviation of the exploration, in units of the action")


ALGORITHMS = {"ppo": PPO, "sac": SAC, "td3": TD3}


def check_algorithm(name: str) -> None:
    """UserError unless it is one of ``ALGORITHMS``."""
    if name not in ALGORITHMS:
        raise unknown_name("algo", name, ALGORITHMS)
