"""What keeps two runs in one folder apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfvgen_plan.io import atomic
from sfvgen_plan.nested import check_same


@dataclass(frozen=True)
class RunNote:
    """What has to stay the same while the run in a folder is gone on with.

    Attributes:
        out: the folder, as errors name it.
        file: of the note.
        state: JSON values.
    """

    out: Path
    file: Path
    state: Mapping[str, Any]

    def check(self) -> None:
        """Refuse to go on with the state of something else. Raises UserError: the run in the folder is another one."""
        if self.file.exists():
            check_same(f"out={str(self.out)!r} holds a run", json.loads(self.file.read_text()), self.state)

    def write(self) -> None:
        """Leave it in the folder."""
        with atomic(self.file, "out") as staged:
            staged.write_text(json.dumps(dict(self.state), indent=1) + "\n")
