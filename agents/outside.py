"""Agents from outside of the registry: ``module:factory``, one of the user's own, and ``sb3:path.zip``, a policy of
Stable-Baselines3."""

import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import Parameter, isclass, isfunction, signature
from pathlib import Path
from typing import Any, ClassVar

from sfvgen_plan.agents.base import REMEMBERS, AgentSettings, BatchAgent, EnvAgent, Given, kind_of
from sfvgen_plan.errors import UserError, need_package, unknown_name
from sfvgen_plan.settings import setting

PREFIX = "sb3:"


@dataclass(frozen=True)
class Outside(AgentSettings):
    """An agent of one's own, which takes whatever settings it takes."""

    needs_checkpoint: ClassVar[bool] = False

    settings: Mapping[str, Any] = field(default_factory=dict)

    def build(self, given: Given) -> BatchAgent | EnvAgent:
        """The agent. Raises UserError: its factory raises an exception, or makes no agent."""
        from sfvgen_plan.agents.adapters import LanesOfAgents, as_agent

        first = self._made(given)
        kind = kind_of(first)
        if kind in ("batch", "env"):
            return first
        action_dim = int(self.settings.get("action_dim", given.action_dim))
        if kind is None:
            # One policy serves all lanes, where a copy a lane might not fit into memory.
            as_agent(first)
            return LanesOfAgents(lambda: first, action_dim, given.name)
        waiting = [first]
        return LanesOfAgents(lambda: waiting.pop() if waiting else self._made(given), action_dim, given.name)

    def _made(self, given: Given) -> Any:
        """What the factory makes, or the object itself where it is none."""
        from sfvgen_plan.agents.adapters import Script

        found, offered = imported(given.name), vars(given) | {"settings": dict(self.settings)}
        if _is_script(found):
            return Script(found)
        if not _is_factory(found, offered):
            return found
        try:
            return found(**{key: offered[key] for key in signature(found).parameters if key in offered})
        except UserError:
            raise
        except Exception as error:  # whatever the user's own code runs into
            raise UserError(f"agent={given.name!r} can't be made ({_told(error)}); mend its factory") from error


@dataclass(frozen=True)
class Beside(Outside):
    """One that acts on the environment."""

    acts_on_env: ClassVar[bool] = True


def outside(name: str) -> type[Outside]:
    """What is known of an agent before it is made. Raises UserError: it can't be imported."""
    found = imported(name)
    act = getattr(found, "act", None)
    beside = isclass(found) and callable(act) and list(signature(act).parameters)[1:] == ["env"]
    return Beside if beside or _is_script(found) or getattr(found, "acts_on_env", False) else Outside


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
    """The object that ``module:attribute`` names; modules in the current folder are found too. Raises UserError: there
    is none, or the module raises an exception; the message names the ``argument``."""
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


@dataclass(frozen=True)
class Policy(AgentSettings):
    """A policy of Stable-Baselines3 or sb3-contrib, without exploration, that sees frames through a checkpoint."""

    memory: bool | None = setting(None, REMEMBERS)

    def build(self, given: Given) -> Any:
        """The agent. Raises UserError: see ``agents.sb3``."""
        from sfvgen_plan.agents.sb3 import PolicyAgent, load_policy
        from sfvgen_plan.model.checkpoint import load_checkpoint

        if self.memory not in (None, True, False):
            raise UserError(f"agent.memory={self.memory!r}: agent={given.name!r} takes true or false")
        seen_through = load_checkpoint(given.checkpoint, given.device)
        return PolicyAgent(load_policy(given.name), seen_through, given.action_dim, given.name, self.memory)


@dataclass(frozen=True)
class PolicyOfPixels(AgentSettings):
    """A policy that sees the frames themselves."""

    needs_checkpoint: ClassVar[bool] = False

    def build(self, given: Given) -> Any:
        """The agent. Raises UserError: see ``agents.sb3``."""
        from sfvgen_plan.agents.sb3 import PolicyAgent, load_policy

        return PolicyAgent(load_policy(given.name), None, given.action_dim, given.name)


@dataclass(frozen=True)
class PolicyBeside(AgentSettings):
    """A policy that was trained on the environment's own observations."""

    needs_checkpoint: ClassVar[bool] = False
    acts_on_env: ClassVar[bool] = True
    needs: ClassVar[str] = "own_observations"

    def build(self, given: Given) -> Any:
        """The agent. Raises UserError: see ``agents.sb3``."""
        from sfvgen_plan.agents.sb3 import OwnObservations, load_policy

        return OwnObservations(load_policy(given.name), given.name)


def policy(name: str) -> type[AgentSettings]:
    """What is known of a policy before it plays. Raises UserError: there is no such file, or it holds no policy."""
    if not Path(name.removeprefix(PREFIX)).is_file():
        raise UserError(f"agent={name!r} names no file; give {PREFIX}path.zip")
    need_package("stable_baselines3", "sb3")
    from sfvgen_plan.agents.sb3 import load_policy, sees_own, sees_pixels

    model = load_policy(name)
    return PolicyOfPixels if sees_pixels(model) else PolicyBeside if sees_own(model) else Policy
