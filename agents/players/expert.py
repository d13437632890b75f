"""``--agent expert``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sfvgen_plan.agents.base import AgentSettings, Given


@dataclass(frozen=True)
class Settings(AgentSettings):
    """The simulator's own expert: it reads the true state."""

    order: ClassVar[int] = 70
    control: ClassVar[bool] = True
    needs_checkpoint: ClassVar[bool] = False
    acts_on_env: ClassVar[bool] = True


def build(settings: Settings, given: Given) -> Any:
    """The agent."""
    from sfvgen_plan.agents.expert import ExpertAgent

    return ExpertAgent()
