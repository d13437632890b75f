"""What is set of agents of Stable-Baselines3 that learn: how they are trained, and the numbers of each algorithm.

Nothing heavy is imported, so that a mistyped setting is told at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from sfvgen_plan.errors import UserError, unknown_name
from sfvgen_plan.settings import Settings, configured, explained, setting


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """How an agent is trained, its algorithm's own numbers apart. Raises UserError: numbers that make no sense."""

    real: bool = setting(False, "learn in the real simulator instead, to compare with")
    obs_mode: str = setting("state", "what the agent sees: pixels, latent or state")
    num_envs: int = setting(32, "episodes side by side: imagined in one batch, real ones at most one a core", 1)
    decisions: int = setting(200_000, "taken in all, rounded up to what the algorithm collects at a time", 1)
    horizon: int = setting(50, "decisions until an episode is cut off and begins anew", 1)
    sampler_steps: int = setting(1, "denoising steps of an imagined decision")
    memory: bool | None = setting(None, "remember what an episode showed; null: if the checkpoint has memory layers")
    policy_device: str = setting("cpu", "where the policy's own networks are; small ones are faster on the CPU")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.real and self.sampler_steps != 1:
            raise UserError(f"sampler_steps={self.sampler_steps} has no meaning with real=True; leave it at 1")


@dataclass(frozen=True)
class PPO(Settings):
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
class SAC(Settings):
    """Soft actor-critic; the names are Stable-Baselines3's."""

    learning_rate: float = setting(0.0003, "of Adam")
    buffer_size: int = setting(500_000, "decisions that are kept")
    learning_starts: int = setting(3200, "decisions before the first update")
    batch_size: int = setting(256, "decisions of a gradient step")
    tau: float = setting(0.005, "share by which the target networks follow")
    gamma: float = setting(0.97, "discount of a decision")
    train_freq: int = setting(1, "decisions of each episode side by side between two updates")
    gradient_steps: int = setting(8, "of an update")
    ent_coef: str = setting("auto", "weight of the entropy: auto, or auto_0.1 to begin at 0.1")
    net_arch: tuple[int, ...] = setting((256, 256), "widths of the networks")


ALGORITHMS = {"ppo": PPO, "sac": SAC}


@dataclass(frozen=True)
class Learner:
    """One of ``ALGORITHMS``, how it is trained, and its own numbers by Stable-Baselines3's names, and ``net_arch``."""

    algo: str
    settings: TrainingSettings
    numbers: Mapping[str, Any]

    @classmethod
    def of(cls, algo: str, settings: Sequence[str], numbers: Sequence[str], group: str = "") -> Self:
        """From ``key=value`` of its training, with the ``group`` before the keys, and ``algo.key=value``. Raises
        UserError: unknown names, values that make no sense."""
        if algo not in ALGORITHMS:
            raise unknown_name("algo", algo, ALGORITHMS)
        own = asdict(configured(ALGORITHMS[algo], numbers, "algo"))
        return cls(algo, configured(TrainingSettings, settings, group), own)

    @staticmethod
    def explained(algo: str, prefix: str = "") -> list[str]:
        """Lines on what is set of its training, with the prefix before the keys, and of itself."""
        Learner.of(algo, (), ())  # is there such an algorithm?
        own = explained(ALGORITHMS[algo], "algo.")
        return [*explained(TrainingSettings, prefix), f"settings of {algo}", *own]
