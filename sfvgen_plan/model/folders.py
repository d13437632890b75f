"""Which folder a checkpoint is in, told without loading it: nothing heavy is imported here."""

from __future__ import annotations

from pathlib import Path

from sfvgen_plan.errors import UserError

PACKAGED = Path(__file__).parents[1] / "checkpoints"
BUNDLED = PACKAGED / "metaworld10"
CARD_FILE = "checkpoint.json"


def packaged_checkpoints() -> list[str]:
    """Names of the checkpoints in the package, such as ``metaworld10``."""
    return sorted(card.parent.name for card in PACKAGED.glob(f"*/{CARD_FILE}"))


def checkpoint_folder(path: str | Path | None) -> Path:
    """The folder that is meant: ``path`` itself, or where there is none the packaged checkpoint of that name; None is
    the bundled one. Whether it holds a checkpoint is another question."""
    if not path:
        return BUNDLED
    named = str(path) in packaged_checkpoints() and not Path(path).exists()
    return PACKAGED / path if named else Path(path)


def check_folder(folder: Path, argument: str = "checkpoint") -> None:
    """Refuse a folder without a checkpoint, which its card tells; whether all of it can be loaded is not looked at.

    Raises:
        UserError: there is no card; the message names the ``argument``.
    """
    if not (folder / CARD_FILE).is_file():
        raise UserError(
            f"{argument}={str(folder)!r} holds no {CARD_FILE}; give a folder written by sfvgen-plan train, or the name "
            f"of one in the package ({', '.join(packaged_checkpoints())})"
        )
