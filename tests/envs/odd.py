"""Stands in for an environment. In a module of its own, because worker processes import it."""

from __future__ import annotations

import os
import signal

from sfvgen_plan.errors import UserError


class Odd:
    """Goes wrong in every way."""

    def close(self) -> None:
        pass

    def name(self) -> str:
        return "odd"

    def refuse(self) -> None:
        raise UserError("odd=1 is not even; give 2")

    def fail(self) -> None:
        raise ZeroDivisionError

    def end(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def refused() -> Odd:
    raise UserError("odd=3 can't be made; give 2")
