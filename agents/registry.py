"""Agents by name. Nothing heavy is imported before an agent is made."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from importlib import import_module
from inspect import Parameter, isclass, signature
from pathlib import Path
from typing import Any

from sfvgen_plan.agents.adapters import LanesOfAgents, as_agent, kind_of
from sfvgen_plan.agents.base import BatchAgent, EnvAgent
from sfvgen_plan.agents.settings import changed, packaged_settings
from sfvgen_plan.errors import UserError, unknown_name

AGENTS: dict[str, str] = {
    "random": "build_random",
    "expert": "build_expert",
    "prior": "build_prior",
    "prior10": "build_prior",
    "readout": "build_readout",
    "cem": "build_cem",
    "mppi": "build_mppi",
    "default": "build_guided",
    "default10": "build_guided",
    "video": "build_video",
    "oracle": "build_oracle",
}
"""Names, and the functions of ``agents/builders.py`` that build them."""

WITHOUT_CHECKPOINT = ("random", "expert", "oracle")
"""Agents that play any task, since they have learned none."""

ENV_AGENTS = ("expert", "oracle")
"""Agents that act on the real environment and run beside it."""


POLICY_PREFIX = "sb3:"
"""Before the path of a zip that an algorithm of Stable-Baselines3 saved."""


def check_agent(name: str) -> None:
    """UserError unless ``name`` is in the registry, ``sb3:`` and a file, or ``module:factory`` that can be imported."""
    if name.startswith(POLICY_PREFIX):
        if not Path(name.removeprefix(POLICY_PREFIX)).is_file():
            raise UserError(f"agent={name!r} names no file; give {POLICY_PREFIX}path.zip")
    elif ":" in name:
        _import(name)
    elif name not in AGENTS:
        raise unknown_name("agent", name, AGENTS)


def acts_on_env(name: str) -> bool:
    """Whether the agent is an ``EnvAgent``, told without making it."""
    if ":" not in name or name.startswith(POLICY_PREFIX):
        check_agent(name)
        return name in ENV_AGENTS
    found = _import(name)
    act = getattr(found, "act", None)
    if getattr(found, "acts_on_env", False):
        return True
    return isclass(found) and callable(act) and list(signature(act).parameters)[1:] == ["env"]


def sees_through_checkpoint(name: str) -> bool:
    """Whether the agent needs a checkpoint: those of the registry that learned something, and policies that see latents
    or read-outs. A ``module:factory`` decides for itself."""
    if name.startswith(POLICY_PREFIX):
        check_agent(name)
        return import_module("sfvgen_plan.agents.sb3").needs_checkpoint(name)
    return ":" not in name and name not in WITHOUT_CHECKPOINT


def make_agent(
    name: str,
    checkpoint: Any = None,
    device: str = "cpu",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    action_dim: int = 4,
) -> BatchAgent | EnvAgent:
    """Make an agent.

    Args:
        name: one of ``AGENTS``, ``sb3:path.zip``, or ``module:factory``. A factory is called with those of
            ``checkpoint``, ``device``, ``seed`` and ``settings`` that it names, and returns an ``Agent``,
            ``BatchAgent``, ``EnvAgent``, something with SB3's ``predict``, or a callable; a function of one observation
            may stand in its place.
        checkpoint: folder of a checkpoint, a loaded one, or None for the bundled one. Agents that need none ignore it.
        device: where the checkpoint is loaded to.
        seed: of the agent's own random numbers, at least 0.
        settings: changes to the settings in ``configs/agent/<name>.yaml``.
        action_dim: A of the environment, which policies and agents of the user's own are held to.

    Returns:
        A ``BatchAgent``, or for agents that run beside the environment an ``EnvAgent`` (see ``acts_on_env``).

    Raises:
        UserError: unknown agent or setting, a value that makes no sense, a checkpoint that cannot be loaded, a factory
            that raises an exception.
    """
    if seed < 0:
        raise UserError(f"seed={seed} must be at least 0")
    if name.startswith(POLICY_PREFIX):
        check_agent(name)
        build = import_module("sfvgen_plan.agents.sb3").build_policy
        return build(name, checkpoint, device, dict(settings or {}), action_dim)
    if ":" in name:
        return _make_from(name, checkpoint, device, seed, dict(settings or {}), action_dim)
    check_agent(name)
    full = changed(name, packaged_settings(name), settings or {})
    builders = import_module("sfvgen_plan.agents.builders")
    return getattr(builders, AGENTS[name])(checkpoint, device, seed, full)


def _make_from(
    name: str, checkpoint: Any, device: str, seed: int, settings: dict[str, Any], action_dim: int
) -> BatchAgent | EnvAgent:
    found = _import(name)
    offered = {"checkpoint": checkpoint, "device": device, "seed": seed, "settings": settings}

    def make() -> Any:
        if not _is_factory(found, offered):
            return found
        try:
            return found(**_named(found, offered))
        except UserError:
            raise
        except Exception as error:  # whatever the user's own code runs into
            raise UserError(f"agent={name!r} can't be made ({_told(error)}); mend its factory") from error

    first = make()
    kind = kind_of(first)
    if kind in ("batch", "env"):
        return first
    action_dim = int(settings.get("action_dim", action_dim))
    if kind is None:
        # Policies keep no episode: one serves all lanes, where a copy a lane might not fit into memory.
        shared = as_agent(first)
        return LanesOfAgents(lambda: shared, action_dim, name)
    waiting = [first]
    return LanesOfAgents(lambda: waiting.pop() if waiting else make(), action_dim, name)


def _is_factory(found: Any, offered: Mapping[str, Any]) -> bool:
    """A class, or a function that asks for nothing but what is offered."""
    if isclass(found):
        return True
    if not callable(found) or kind_of(found) is not None or hasattr(found, "predict"):
        return False
    required = [item.name for item in signature(found).parameters.values() if _is_required(item)]
    return set(required) <= set(offered)


def _is_required(item: Parameter) -> bool:
    return item.default is Parameter.empty and item.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def _named(found: Any, offered: Mapping[str, Any]) -> dict[str, Any]:
    """What the factory names of what is offered."""
    names = signature(found).parameters
    return {name: value for name, value in offered.items() if name in names}


def _import(name: str) -> Any:
    """The object that ``module:attribute`` names; modules in the current folder are found too.

    Raises:
        UserError: there is none, or the module raises an exception.
    """
    module_name, _, path = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        found: Any = import_module(module_name)
    except UserError:
        raise
    except Exception as error:  # whatever the user's own code runs into
        raise UserError(
            f"agent={name!r} can't be imported ({_told(error)}); give module:factory of a module that can be"
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise unknown_name(f"agent={name!r}: attribute", part, [item for item in dir(found) if item[0] != "_"])
        found = getattr(found, part)
    return found


def _told(error: Exception) -> str:
    """An exception of the user's own code in one line: its type, its message, and the line that raised it."""
    text = " ".join([f"{type(error).__name__}:", *str(error).split()]).removesuffix(":")
    last = traceback.extract_tb(error.__traceback__)[-1]
    # Those of a missing module or of its syntax come from Python's own importer, and say where in their message.
    return text if last.filename.startswith("<") else f"{text}, {last.filename} line {last.lineno}"
