"""Agents by name: those of ``agents/players``, ``sb3:path.zip``, and ``module:factory``.

Nothing heavy is imported before an agent is made.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from inspect import Parameter, isclass, isfunction, signature
from pathlib import Path
from typing import Any, ClassVar

from sfvgen_plan.agents import players
from sfvgen_plan.agents.adapters import LanesOfAgents, Script, as_agent, kind_of
from sfvgen_plan.agents.base import AgentSettings, BatchAgent, EnvAgent, Given
from sfvgen_plan.agents.players import agent_names
from sfvgen_plan.errors import UserError, unknown_name
from sfvgen_plan.nested import flat
from sfvgen_plan.settings import configured, explained, of_group, parsed

POLICY_PREFIX = "sb3:"
"""Before the path of a zip that an algorithm of Stable-Baselines3 saved."""

GROUP = "agent"
"""What stands before a setting of an agent on a command line."""


@dataclass(frozen=True)
class _Outside(AgentSettings):
    """An agent from outside of the registry, which says for itself what it needs."""

    needs_checkpoint: ClassVar[bool] = False


@dataclass(frozen=True)
class _Beside(_Outside):
    """One that acts on the environment."""

    acts_on_env: ClassVar[bool] = True


def settings_of(name: str) -> type[AgentSettings]:
    """The settings of an agent, and with them what is known of it before it is made.

    Raises:
        UserError: it is not in the registry, nor ``sb3:`` and a file, nor ``module:factory`` that can be imported.
    """
    if name.startswith(POLICY_PREFIX):
        if not Path(name.removeprefix(POLICY_PREFIX)).is_file():
            raise UserError(f"agent={name!r} names no file; give {POLICY_PREFIX}path.zip")
        return _Outside
    if ":" not in name:
        return _player(name).Settings
    found = imported(name)
    act = getattr(found, "act", None)
    beside = isclass(found) and callable(act) and list(signature(act).parameters)[1:] == ["env"]
    return _Beside if beside or _is_script(found) or getattr(found, "acts_on_env", False) else _Outside


def needs_checkpoint(name: str) -> bool:
    """Whether the agent needs a checkpoint; of an ``sb3:`` agent its file tells. Others from outside are said to need
    none."""
    if name.startswith(POLICY_PREFIX):
        settings_of(name)  # which refuses a file that isn't there
        return import_module("sfvgen_plan.agents.sb3").needs_checkpoint(name)
    return settings_of(name).needs_checkpoint


def table_order() -> list[str]:
    """Names of the agents in the registry as tables have them, from weak to strong."""
    return sorted(agent_names(), key=lambda name: settings_of(name).order)


def controls() -> list[str]:
    """Agents that say what a figure means: no skill, no planning, the scripted solution."""
    return [name for name in table_order() if settings_of(name).control]


def check_plays(name: str, tasks: Sequence[str]) -> None:
    """Refuse tasks that the agent can't play, whatever the checkpoint.

    Raises:
        UserError: unknown agent, or a task whose simulator lacks what the agent needs.
    """
    from sfvgen_plan.envs.family import family_of

    needs = settings_of(name).needs
    for task in tasks if needs else ():
        if not getattr(family_of(task), needs):
            raise UserError(
                f"agent={name!r} can't play {task!r}, as {family_of(task).title} has no {needs.replace('_', ' ')}; "
                "give --agent expert, or one that plans in a checkpoint"
            )


def agent_settings(name: str, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], str]:
    """All settings of an agent, changed by ``agent.key=value``, and its name in tables: with what differs from the
    defaults.

    Raises:
        UserError: unknown agent, or an override that names no setting of it.
    """
    kind = settings_of(name)
    for text in of_group(overrides, GROUP)[1]:
        raise UserError(f"override {text!r} is no setting of the agent; give {GROUP}.key=value")
    defaults = asdict(kind())
    settings = _nested(map(parsed, overrides)) if ":" in name else asdict(configured(kind, overrides, GROUP))
    changes = [f"+{key}={value}" for key, value in flat(settings).items() if flat(defaults).get(key, ...) != value]
    return settings, name + "".join(changes)


def _nested(values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Settings of an agent from outside, which names none beforehand."""
    settings: dict[str, Any] = {}
    for key, value in values:
        node = settings
        *parents, leaf = key.split(".")[1:]
        for part in parents:
            node = node.setdefault(part, {})
        node[leaf] = value
    return settings


def explain_settings(name: str) -> str:
    """The settings of an agent, a line each, with their defaults.

    Raises:
        UserError: unknown agent.
    """
    kind = settings_of(name)
    if ":" in name:
        return f"settings of {name}: whatever it takes"
    return "\n".join([f"settings of {name} ({kind.__doc__})", *(explained(kind, f"{GROUP}.") or ["none"])])


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
        name: one of ``agent_names()``, ``sb3:path.zip``, or ``module:factory``. A factory is called with those of
            ``checkpoint``, ``device``, ``seed`` and ``settings`` that it names, and returns an ``Agent``,
            ``BatchAgent``, ``EnvAgent``, something with SB3's ``predict``, or a callable; a function of one observation
            may stand in its place.
        checkpoint: folder of a checkpoint, a loaded one, or None for the bundled one. Agents that need none ignore it.
        device: where the checkpoint is loaded to.
        seed: of the agent's own random numbers, at least 0.
        settings: changes to the agent's settings.
        action_dim: A of the environment, which policies and agents of the user's own are held to.

    Returns:
        A ``BatchAgent``, or for agents that run beside the environment (``settings_of(name).acts_on_env``) an
        ``EnvAgent``.

    Raises:
        UserError: unknown agent or setting, a value that makes no sense, a checkpoint that cannot be loaded, a factory
            that raises an exception.
    """
    if seed < 0:
        raise UserError(f"seed={seed} must be at least 0")
    changes, kind = dict(settings or {}), settings_of(name)
    if name.startswith(POLICY_PREFIX):
        return import_module("sfvgen_plan.agents.sb3").build_policy(name, checkpoint, device, changes, action_dim)
    if ":" in name:
        return _make_from(name, checkpoint, device, seed, changes, action_dim)
    return _player(name).build(configured(kind, changes, GROUP), Given(checkpoint, device, seed, action_dim))


@cache
def _player(name: str) -> Any:
    if name not in (known := agent_names()):
        raise unknown_name("agent", name, known)
    return import_module(f"{players.__name__}.{name}")


def _make_from(
    name: str, checkpoint: Any, device: str, seed: int, settings: dict[str, Any], action_dim: int
) -> BatchAgent | EnvAgent:
    found = imported(name)
    offered = {"checkpoint": checkpoint, "device": device, "seed": seed, "settings": settings}

    def make() -> Any:
        if _is_script(found):
            return Script(found)
        if not _is_factory(found, offered):
            return found
        try:
            return found(**{key: offered[key] for key in signature(found).parameters if key in offered})
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
        # One policy serves all lanes, where a copy a lane might not fit into memory.
        as_agent(first)
        return LanesOfAgents(lambda: first, action_dim, name)
    waiting = [first]
    return LanesOfAgents(lambda: waiting.pop() if waiting else make(), action_dim, name)


def _is_script(found: Any) -> bool:
    """Whether it is a function of the environment."""
    return isfunction(found) and list(signature(found).parameters) == ["env"]


def _is_factory(found: Any, offered: Mapping[str, Any]) -> bool:
    """A class, or a function that asks for nothing but what is offered."""
    if isclass(found):
        return True
    if not callable(found) or kind_of(found) is not None or hasattr(found, "predict"):
        return False
    optional = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    asked = signature(found).parameters.values()
    return all(item.name in offered for item in asked if item.default is Parameter.empty and item.kind not in optional)


def imported(name: str, argument: str = "agent") -> Any:
    """The object that ``module:attribute`` names; modules in the current folder are found too.

    Raises:
        UserError: there is none, or the module raises an exception; the message names the ``argument``.
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
            f"{argument}={name!r} can't be imported ({_told(error)}); give module:factory of a module that can be"
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise unknown_name(f"{argument}={name!r}: attribute", part, [item for item in dir(found) if item[0] != "_"])
        found = getattr(found, part)
    return found


def _told(error: Exception) -> str:
    """An exception of the user's own code in one line: its type, its message, and the line that raised it."""
    text = " ".join([f"{type(error).__name__}:", *str(error).split()]).removesuffix(":")
    last = traceback.extract_tb(error.__traceback__)[-1]
    # Those of a missing module or of its syntax come from Python's own importer, and say where in their message.
    return text if last.filename.startswith("<") else f"{text}, {last.filename} line {last.lineno}"
