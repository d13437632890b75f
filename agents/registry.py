"""Agents by name: those of ``agents/players``, ``sb3:path.zip``, and ``module:factory``.

Nothing heavy is imported before an agent is made.
"""

import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from typing import Any

from sfvgen_plan.agents import players
from sfvgen_plan.agents.base import AgentSettings, BatchAgent, EnvAgent, Given
from sfvgen_plan.agents.outside import PREFIX as POLICY_PREFIX
from sfvgen_plan.agents.outside import Outside, outside, policy
from sfvgen_plan.errors import UserError, unknown_name
from sfvgen_plan.settings import configured, explained, flat, of_group, parsed

GROUP = "agent"  # what stands before a setting of an agent on a command line


def agent_names() -> list[str]:
    """Names of the agents in the registry."""
    for module in pkgutil.iter_modules(players.__path__):
        import_module(f"{players.__name__}.{module.name}")
    return sorted(AgentSettings.known)


def settings_of(name: str) -> type[AgentSettings]:
    """The settings of an agent, and with them what is known of it before it is made. Raises UserError: it is not in the
    registry, nor ``sb3:`` and a file, nor ``module:factory`` that can be imported."""
    if name.startswith(POLICY_PREFIX):
        return policy(name)
    if ":" in name:
        return outside(name)
    if name not in (known := agent_names()):
        raise unknown_name("agent", name, known)
    return AgentSettings.known[name]


def table_order() -> list[str]:
    """Names of the agents in the registry as tables have them, from weak to strong."""
    return sorted(agent_names(), key=lambda name: settings_of(name).order)


def controls() -> list[str]:
    """Agents that say what a figure means: no skill, no planning, the scripted solution."""
    return [name for name in table_order() if settings_of(name).control]


def check_plays(name: str, tasks: Sequence[str]) -> None:
    """Refuse tasks that the agent can't play. Raises UserError: unknown agent, or the simulator lacks what it needs."""
    from sfvgen_plan.envs.family import family_of

    needs = settings_of(name).needs
    for task in tasks if needs else ():
        if not getattr(family := family_of(task), needs):
            raise UserError(
                f"agent={name!r} can't play {task!r}, as {family.title} has no {needs.replace('_', ' ')}; "
                f"give --agent {'expert' if family.expert else 'random'}, or one that plans in a checkpoint"
            )


def agent_settings(name: str, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], str]:
    """All settings of an agent, changed by ``agent.key=value``, and its name in tables: with what differs from the
    defaults. Raises UserError: unknown agent, an override that names no setting of it, or a value that makes no sense.
    """
    kind = settings_of(name)
    for text in of_group(overrides, GROUP)[1]:
        raise UserError(f"override {text!r} is no setting of the agent; give {GROUP}.key=value")
    if issubclass(kind, Outside):  # which names no settings beforehand
        from omegaconf import OmegaConf

        found: Any = OmegaConf.create({GROUP: {}})
        for text in overrides:
            OmegaConf.update(found, *parsed(text))
        told: Any = OmegaConf.to_container(found)
        settings, defaults = told[GROUP], {}
    else:
        settings, defaults = asdict(configured(kind, overrides, GROUP)), flat(asdict(kind()))
    changes = [f"+{key}={value}" for key, value in flat(settings).items() if defaults.get(key, ...) != value]
    return settings, name + "".join(changes)


def explain_settings(name: str) -> str:
    """The settings of an agent, a line each, with their defaults. Raises UserError: unknown agent."""
    kind = settings_of(name)
    if issubclass(kind, Outside):
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
            ``checkpoint``, ``device``, ``seed``, ``action_dim`` and ``settings`` that it names, and returns an
            ``Agent``, ``BatchAgent``, ``EnvAgent``, something with SB3's ``predict``, or a callable; a function of one
            observation may stand in its place.
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
    kind, changes = settings_of(name), dict(settings or {})
    own = kind(changes) if issubclass(kind, Outside) else configured(kind, changes, GROUP)
    made: BatchAgent | EnvAgent = own.build(Given(name, checkpoint, device, seed, action_dim))
    return made
