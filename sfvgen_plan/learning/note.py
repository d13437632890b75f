"""What keeps two runs in one folder apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfvgen_plan.errors import UserError
from sfvgen_plan.io import atomic


class RunNote:
    """What has to stay the same while the run in a folder is gone on with.

    Args:
        out: the folder, as errors name it.
        file: of the note.
        state: JSON values.
    """

    def __init__(self, out: Path, file: Path, state: Mapping[str, Any]) -> None:
        self.out, self.file = out, file
        self.state = json.loads(json.dumps(dict(state)))

    def check(self) -> None:
        """Refuse to go on with the state of something else.

        Raises:
            UserError: the run in the folder is another one.
        """
        found = json.loads(self.file.read_text()) if self.file.exists() else self.state
        if other := [key for key in {**self.state, **found} if self.state.get(key) != found.get(key)]:
            raise UserError(
                f"out={str(self.out)!r} holds a run with "
                + ", ".join(f"{key}={found.get(key)} (now {self.state.get(key)})" for key in other)
                + "; give another --out, or the same settings to go on with it"
            )

    def write(self) -> None:
        """Leave it in the folder."""
        with atomic(self.file, "out") as staged:
            staged.write_text(json.dumps(self.state, indent=1) + "\n")
