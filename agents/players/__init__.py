"""The agents of the registry, a file each: its name is what ``--agent`` takes.

A file has ``Settings``, a frozen ``AgentSettings`` whose docstring says in a line what the agent does, and
``build(settings, given)``, which makes it. Files are read to tell names and settings, so what is heavy is imported in
``build``. Names that begin with an underscore are no agents.
"""

from __future__ import annotations

import pkgutil


def agent_names() -> list[str]:
    """Names of the agents in the registry."""
    return [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
