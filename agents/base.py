"""What an agent is: one that plays a single episode, and one that plays many side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from sfvgen_plan.errors import UserError
from sfvgen_plan.settings import Settings

if TYPE_CHECKING:
    import numpy as np

    from sfvgen_plan.model.checkpoint import Checkpoint
    from sfvgen_plan.simulator import LearnedSimulator


REMEMBERS = "remember what the episode showed; null = if the checkpoint has memory layers"
"""What the setting ``memory`` of agents means."""


@dataclass(frozen=True)
class PlanCost:
    """What the decisions of one episode have cost so far.

    ``denoiser_calls`` counts forward passes of the denoiser for this episode's share of the batch,
    ``imagined_decisions`` the decisions imagined on its behalf, ``plan_seconds`` wall time inside ``act``
    divided by the episodes that shared the call.
    """

    plan_seconds: float = 0.0
    denoiser_calls: int = 0
    imagined_decisions: int = 0


@runtime_checkable
class Agent(Protocol):
    """Plays one episode."""

    def reset(self, task: str, seed: int) -> None:
        """Start an episode of ``task``; ``seed`` decides all that the agent draws."""

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Frame (H, W, 3) uint8 -> actions (G, A) or (A,) in [-1, 1], to execute before the next call."""

    def stats(self) -> PlanCost:
        """Cost of the episode so far."""


@runtime_checkable
class BatchAgent(Protocol):
    """Plays episodes in lanes, one episode a lane. Lanes are independent: one never changes another's actions."""

    def reset(self, lanes: Sequence[int], tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Start new episodes in ``lanes``; other lanes go on. A lane that was never seen before is created."""

    def act(self, lanes: Sequence[int], frames: np.ndarray) -> np.ndarray:
        """Newest frame of each lane named, (E, H, W, 3) uint8 -> actions (E, A) in [-1, 1], one decision each."""

    def stats(self, lane: int) -> PlanCost:
        """Cost of the lane's current episode."""


@runtime_checkable
class EnvAgent(Protocol):
    """An agent with access to the real environment (scripted expert, oracle): it runs beside it, in its process.

    Those that play training episodes may also have ``begin(env)``, which resets the environment and returns what that
    does; ``advise(env, info)``, the best action in a state, which is asked before ``act``; ``over(info)``, whether to
    stop; and ``kind`` and ``scene``, how the episode was played and the seed of its scene.
    """

    def reset(self, task: str, seed: int) -> None:
        """Start an episode of ``task``; ``seed`` decides all that the agent draws."""

    def act(self, env: Any) -> np.ndarray:
        """The unwrapped real environment -> action (A,) in [-1, 1]. Leaves the environment as it was."""

    def stats(self) -> PlanCost:
        """Cost of the episode so far."""


Kind = Literal["single", "batch", "env"]


def kind_of(agent: Any) -> Kind | None:
    """What ``agent`` is: "single" (``Agent``), "batch" (``BatchAgent``), "env" (``EnvAgent``), or None of these.

    All three have the same method names. Batch agents take two arguments in ``act``; env agents are told by the
    name of the one argument, ``env``, or by a true attribute ``acts_on_env``.
    """
    if not all(callable(getattr(agent, name, None)) for name in ("reset", "act", "stats")):
        return None
    names = list(signature(agent.act).parameters)
    if len(names) == 2:
        return "batch"
    return "env" if getattr(agent, "acts_on_env", False) or names == ["env"] else "single"


def tell(agent: Any, lanes: Sequence[int], texts: Sequence[str]) -> None:
    """What the new episodes in ``lanes`` are about, in the simulator's words, for agents that can be ``told`` of it."""
    told = getattr(agent, "told", None)
    if told is not None:
        told(lanes, texts)


class Stateless:
    """What agents have in common that keep nothing of an episode and plan nothing: they need but ``act``."""

    def reset(self, task: str, seed: int) -> None:
        """A new episode: nothing to do."""

    def stats(self) -> PlanCost:
        """Nothing is counted."""
        return PlanCost()


@dataclass(frozen=True)
class AgentSettings(Settings):
    """Settings of an agent. A class with a ``name`` is in the registry: ``class Mine(AgentSettings, name="mine",
    order=40)``; the other keywords are those of its attributes below that are not as usual."""

    known: ClassVar[dict[str, type[AgentSettings]]] = {}

    order: ClassVar[int] = 1000  # where it stands in tables, from weak to strong
    # it says what a figure means (no skill, no planning, the scripted solution) and gets no rank
    control: ClassVar[bool] = False
    needs_checkpoint: ClassVar[bool] = True  # it plays with what a checkpoint has learned, and only its tasks
    acts_on_env: ClassVar[bool] = False  # it is an EnvAgent
    needs: ClassVar[str] = ""  # attribute of envs.family.Family without which it can't play a simulator's tasks

    def __init_subclass__(cls, name: str = "", **facts: Any) -> None:
        super().__init_subclass__()
        for fact, value in facts.items():
            setattr(cls, fact, value)
        if name:
            cls.known[name] = cls

    def build(self, given: Given) -> Any:
        """The agent: a ``BatchAgent``, or an ``EnvAgent``. Raises UserError: it can't be made from this."""
        raise NotImplementedError


@dataclass(frozen=True)
class Given:
    """What an agent is made from beside its settings."""

    name: str = ""  # as it was asked for
    checkpoint: Any = None  # a folder, a name in the package, a loaded one, or None for the bundled one
    device: str = "cpu"  # where a checkpoint is loaded to
    seed: int = 0  # of the agent's own random numbers
    action_dim: int = 4  # A of the environment

    def simulator(self, memory: bool | None, sampler_steps: int = 1) -> tuple[Checkpoint, LearnedSimulator]:
        """The checkpoint, and the simulator in which an agent follows its episodes. Raises UserError: a number that
        makes no sense, a memory that the checkpoint lacks, or one that can't be loaded."""
        if memory not in (None, True, False):
            raise UserError(f"memory={memory!r} is neither true nor false nor null; give one of these")
        from sfvgen_plan.model.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(self.checkpoint, self.device)
        return checkpoint, checkpoint.simulator(sampler_steps, memory, compiled=True)
