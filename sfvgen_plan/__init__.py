"""Plan in a video model: SlowFast-VGen as a simulator for reinforcement learning.

Imported after ``gymnasium``, the package registers its environments: ``gymnasium.make("sfvgen/Imagined-v0",
task="reach-v3")`` is the learned simulator, ``"sfvgen/Metaworld-v0"`` the real one, with the same spaces. Without
Gymnasium:

    >>> import torch, sfvgen_plan
    >>> simulator = sfvgen_plan.load().simulator()                    # the bundled checkpoint
    >>> state = simulator.begin(frames, ["reach-v3"], seeds=[0])      # frames (1, 1, 128, 128, 3) uint8
    >>> state, outcome = simulator.imagine(state, torch.zeros(1, 8, 4))
    >>> outcome.reward, simulator.decode(outcome.latents)             # (1, 8), (1, 8, 128, 128, 3)

The public names are those of ``__all__``; semantic versioning is about them, the environments' ids and spaces, the
command line and the formats of checkpoints and rows. Whatever else modules hold may change at any time.

- a checkpoint: ``load``, ``Checkpoint``
- the learned simulator: ``LearnedSimulator``, ``Imagination``, ``Outcome``, and ``Simulator``, what planners plan in
- environments: ``ImaginedEnv``, ``ImaginedVectorEnv``
- agents: ``make_agent``, ``agent_names``, and what one is: ``Agent``, ``BatchAgent``, ``EnvAgent``, ``PlanCost``
- a simulator of one's own: ``Family``, ``register_family``
- bad input: ``UserError``
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfvgen_plan.devices import make_threads_patient
from sfvgen_plan.errors import UserError

if TYPE_CHECKING:
    from sfvgen_plan.agents.base import Agent as Agent
    from sfvgen_plan.agents.base import BatchAgent as BatchAgent
    from sfvgen_plan.agents.base import EnvAgent as EnvAgent
    from sfvgen_plan.agents.base import PlanCost as PlanCost
    from sfvgen_plan.agents.registry import agent_names as agent_names
    from sfvgen_plan.agents.registry import make_agent as make_agent
    from sfvgen_plan.envs.family import Family as Family
    from sfvgen_plan.envs.family import register_family as register_family
    from sfvgen_plan.envs.imagined import ImaginedEnv as ImaginedEnv
    from sfvgen_plan.envs.vector import ImaginedVectorEnv as ImaginedVectorEnv
    from sfvgen_plan.imagination import Imagination as Imagination
    from sfvgen_plan.model.checkpoint import Checkpoint as Checkpoint
    from sfvgen_plan.simulation import Outcome as Outcome
    from sfvgen_plan.simulation import Simulator as Simulator
    from sfvgen_plan.simulator import LearnedSimulator as LearnedSimulator

_LAZY = {
    "Agent": "agents.base",
    "BatchAgent": "agents.base",
    "Checkpoint": "model.checkpoint",
    "EnvAgent": "agents.base",
    "Family": "envs.family",
    "ImaginedEnv": "envs.imagined",
    "ImaginedVectorEnv": "envs.vector",
    "Imagination": "imagination",
    "LearnedSimulator": "simulator",
    "Outcome": "simulation",
    "PlanCost": "agents.base",
    "Simulator": "simulation",
    "agent_names": "agents.registry",
    "make_agent": "agents.registry",
    "register_family": "envs.family",
}
"""Names that are imported when they are first asked for, as torch alone takes seconds, and their modules."""

__version__ = "0.2.0"
__all__ = ["UserError", "load", *_LAZY]


def load(checkpoint: str | Path | None = None, device: str = "auto") -> Checkpoint:
    """Load a checkpoint; never runs code from it.

    Args:
        checkpoint: its folder, or its name in the package; None: ``metaworld50``, which is bundled.
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: the GPU if there is one.

    Raises:
        UserError: there is no such checkpoint or device, or a file is missing or damaged.
    """
    from sfvgen_plan.model.checkpoint import load_checkpoint

    return load_checkpoint(checkpoint, device)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# In a checkout envs/, agents/, benchmarks/ and configs/ lie beside this folder; an installation has them inside it.
if not (Path(__file__).parent / "envs").is_dir():
    __path__.append(str(Path(__file__).resolve().parents[1]))

make_threads_patient()  # before anything here imports torch or MuJoCo

if "gymnasium" in sys.modules:  # free then; importing it here would slow every command down
    from sfvgen_plan.registration import register_envs

    register_envs()
