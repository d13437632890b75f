"""``--agent sb3:path.zip``: a policy of Stable-Baselines3."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sfvgen_plan.agents.base import AgentSettings, Given
from sfvgen_plan.agents.players.simple import REMEMBERS
from sfvgen_plan.errors import UserError
from sfvgen_plan.settings import setting

PREFIX = "sb3:"


@dataclass(frozen=True)
class Policy(AgentSettings):
    """A policy that an algorithm of Stable-Baselines3 or sb3-contrib saved, without exploration."""

    needs_checkpoint: ClassVar[bool] = False

    memory: bool | None = setting(None, REMEMBERS)

    def build(self, given: Given) -> Any:
        """The agent. Raises UserError: see ``agents.sb3``."""
        from sfvgen_plan.agents.sb3 import PolicyAgent, load_policy, sees_pixels

        model = load_policy(given.name)
        pixels = sees_pixels(model)
        if self.memory not in (None, True, False) or (pixels and self.memory is not None):
            raise UserError(
                f"agent.memory={self.memory!r}: agent={given.name!r} takes true or false, unless it sees pixels"
            )
        return PolicyAgent(model, None if pixels else given.load(), given.action_dim, given.name, self.memory)


def policy(name: str) -> type[Policy]:
    """What is known of a policy before it is loaded. Raises UserError: there is no such file."""
    if not Path(name.removeprefix(PREFIX)).is_file():
        raise UserError(f"agent={name!r} names no file; give {PREFIX}path.zip")
    return Policy
