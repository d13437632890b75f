"""What keeps runs of different settings in one folder apart."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfvgen_plan.errors import UserError
from sfvgen_plan.io import atomic
from sfvgen_plan.settings import flat


def check_same(there: str, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to go on with what was made with other settings than those ``wanted``, both JSON values; ``there`` says
    what it is: "out='set' has episodes". Raises UserError: they differ."""
    found, asked = (flat(json.loads(json.dumps(dict(of)))) for of in (before, wanted))
    if other := [key for key in {**asked, **found} if found.get(key, ...) != asked.get(key, ...)]:
        made, now = (", ".join(f"{key}={of[key]!r}" for key in other if key in of) or "none" for of in (found, asked))
        raise UserError(f"{there} with {made}, not {now}; give another place, or the same settings")


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
