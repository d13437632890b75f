"""``--agent readout``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sfvgen_plan.agents.base import AgentSettings, Given


@dataclass(frozen=True)
class Settings(AgentSettings):
    """Metaworld's scripted policies on what the checkpoint reads out of frames."""

    order: ClassVar[int] = 100
    families: ClassVar[tuple[str, ...]] = ("metaworld/",)


def build(settings: Settings, given: Given) -> Any:
    """The agent."""
    from sfvgen_plan.agents.readout import ReadoutExpert

    checkpoint = given.load()
    return ReadoutExpert(checkpoint.simulator(), context=checkpoint.card.context_frames)
