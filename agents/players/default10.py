"""``--agent default10``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sfvgen_plan.agents.players import default
from sfvgen_plan.settings import setting

build = default.build


@dataclass(frozen=True)
class Settings(default.Settings):
    """The default agent around the prior of 10 expert episodes per task."""

    order: ClassVar[int] = 90

    prior: str = setting("prior10", "prior, prior10 (10 expert episodes per task), or none")
