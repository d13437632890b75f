"""The agents of the registry: what ``--agent`` takes, their settings, and how they are made from them.

An agent is a frozen dataclass of ``AgentSettings`` under ``@player``, in any file of this folder: its docstring says in
a line what the agent does, and its ``build(given)`` makes it. Files are read to tell names and settings, so what is
heavy is imported in ``build``.
"""

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from sfvgen_plan.agents.base import AgentSettings

Settings = TypeVar("Settings", bound=AgentSettings)

_known: dict[str, type[AgentSettings]] = {}


def player(name: str, **facts: Any) -> Callable[[type[Settings]], type[Settings]]:
    """Registers an agent under its name, with what is known of it: the attributes of ``AgentSettings``."""

    def register(kind: type[Settings]) -> type[Settings]:
        for fact, value in facts.items():
            setattr(kind, fact, value)
        _known[name] = kind
        return kind

    return register


def players() -> dict[str, type[AgentSettings]]:
    """The settings of all agents in the registry, by name."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return dict(sorted(_known.items()))


def agent_names() -> list[str]:
    """Names of the agents in the registry."""
    return list(players())
