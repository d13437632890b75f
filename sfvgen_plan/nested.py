"""Settings within settings, and which of them differ."""

import json
from collections.abc import Mapping
from typing import Any

from sfvgen_plan.errors import UserError


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names, in their order."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[f"{prefix}{name}"] = value
    return out


def check_same(there: str, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to go on with what was made with other settings than those ``wanted``, both JSON values; ``there`` says
    what it is: "out='set' has episodes". Raises UserError: they differ."""
    found, asked = (flat(json.loads(json.dumps(dict(of)))) for of in (before, wanted))
    if other := [key for key in {**asked, **found} if found.get(key, ...) != asked.get(key, ...)]:
        made, now = (", ".join(f"{key}={of[key]!r}" for key in other if key in of) or "none" for of in (found, asked))
        raise UserError(f"{there} with {made}, not {now}; give another place, or the same settings")
