"""``--agent prior10``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sfvgen_plan.agents.players import prior

build = prior.build


@dataclass(frozen=True)
class Settings(prior.Settings):
    """The prior of 10 expert episodes per task alone."""

    order: ClassVar[int] = 80
    network: ClassVar[str] = "prior10"
