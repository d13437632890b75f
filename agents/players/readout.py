"""``--agent readout``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sfvgen_plan.agents.base import AgentSettings, Given


@dataclass(frozen=True)
class Settings(AgentSettings):
    """The simulator's scripted expert on what the checkpoint reads out of frames."""

    order: ClassVar[int] = 100
    needs: ClassVar[str] = "state_of"


def build(settings: Settings, given: Given) -> Any:
    """The agent."""
    from sfvgen_plan.agents.readout import ReadoutExpert

    return ReadoutExpert(given.load().simulator())
