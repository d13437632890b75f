"""Which checkpoints there are and which tasks they cover, told without loading them: nothing heavy is imported here."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sfvgen_plan.errors import UserError

PACKAGED = Path(__file__).parent / "checkpoints"
BUNDLED = PACKAGED / "metaworld50"
CARD_FILE = "checkpoint.json"

REPOSITORY = Path(__file__).resolve().parents[1] / "checkpoints"
"""Further checkpoints in a checkout; an installation doesn't have them."""


def known_checkpoints() -> dict[str, Path]:
    """Folders of the checkpoints that are here, by name: those of the package and those of a checkout."""
    return {card.parent.name: card.parent for root in (REPOSITORY, PACKAGED) for card in root.glob(f"*/{CARD_FILE}")}


def find_checkpoint(given: str | Path | None, argument: str = "checkpoint") -> Path:
    """The folder of a checkpoint: ``given`` itself, or the one of that name; None is the bundled one. Raises UserError:
    there is none; the message names the ``argument`` and all that there are."""
    if not given:
        return BUNDLED
    known = known_checkpoints()
    folder = Path(given) if (Path(given) / CARD_FILE).is_file() else known.get(str(given))
    if folder is None:
        raise UserError(
            f"{argument}={str(given)!r} holds no {CARD_FILE}; give a folder written by sfvgen-plan train, or one of "
            f"{', '.join(sorted(known))}"
        )
    return folder


def covered_tasks(folder: Path) -> list[str]:
    """Names of the tasks that a checkpoint was trained on; none if its card can't be read."""
    return list(_card(folder).get("tasks", ()))


def frames_of(folder: Path) -> dict[str, Any]:
    """Camera, size and repeat that a checkpoint was trained with; nothing if its card can't be read."""
    return {name: value for name, value in _card(folder).items() if name in ("camera", "size", "repeat")}


def _card(folder: Path) -> dict[str, Any]:
    """What the card says; nothing if it can't be read."""
    try:
        return dict(json.loads((folder / CARD_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def check_covers(given: str | Path | None, tasks: Iterable[str], protocol: Any = None) -> None:
    """Refuse tasks and frames that a checkpoint, as ``find_checkpoint`` takes it, was not trained on, without loading
    it. ``protocol``: anything with ``id``, ``size``, ``camera`` and ``repeat``; None: frames don't matter. Raises
    UserError: it lists other tasks; the message names those that cover the task, or how to train one. Or it has other
    frames than the protocol."""
    folder = find_checkpoint(given)
    own = covered_tasks(folder)
    for task in tasks:
        if own and task not in own:
            others = sorted(name for name, path in known_checkpoints().items() if task in covered_tasks(path))
            remedy = f"give --checkpoint {' or '.join(others)}, which covers it"
            if not others:
                remedy = "collect its data (sfvgen-plan collect) and train a checkpoint (sfvgen-plan train)"
            raise UserError(
                f"task={task!r} is not covered by checkpoint={folder.name!r} (it covers {some(own)}); {remedy}"
            )
    for name, trained in (frames_of(folder) if protocol is not None else {}).items():
        if (wanted := getattr(protocol, name)) != trained:
            raise UserError(
                f"checkpoint={folder.name!r} was trained with {name}={trained!r}, but protocol {protocol.id!r} has "
                f"{name}={wanted!r}; give a checkpoint trained with the latter"
            )


def some(names: Sequence[str], shown: int = 12) -> str:
    """The names, or of many the first ones and how many more there are."""
    left = len(names) - shown
    return ", ".join(names) if left <= 0 else f"{', '.join(names[:shown])} and {left} more"
