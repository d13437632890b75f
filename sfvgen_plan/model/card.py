"""The model card: a checkpoint's README, written from its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sfvgen_plan.nested import flat

if TYPE_CHECKING:
    from sfvgen_plan.model.checkpoint import CheckpointCard


def model_card(card: CheckpointCard) -> str:
    """Markdown that says what a checkpoint is for, what it was trained on, how, and how well the training went."""
    record = card.training
    lines = [
        "# SlowFast-VGen checkpoint",
        "",
        f"Pictures of {card.size} x {card.size} pixels from the camera `{card.camera}`; one decision is one action "
        f"held for {card.repeat} raw simulator steps.",
        f"Heads read reward, success, value and these numbers out of a frame: {', '.join(card.readouts)}."
        if card.readouts
        else "A plain video model, without heads that agents could plan with.",
        "Weights are stored in bfloat16 as safetensors. Load with `sfvgen_plan.model.checkpoint.load_checkpoint`.",
        "",
        "## Tasks",
        "",
        *(f"- `{task}`: {instruction}" for task, instruction in card.tasks.items()),
    ]
    if card.sub_goals:
        lines += ["", "## Sub-goals", "", *(f"- {text}" for text in card.sub_goals)]
    for title, key in _SECTIONS:
        if record.get(key):
            lines += ["", f"## {title}", "", *_items(record[key])]
    for title, key in _ORIGINS:
        if key in record:
            lines += ["", f"## {title}", "", *(f"- {name} = {value}" for name, value in flat(record[key]).items())]
    if record.get("licence"):
        lines += ["", "## Licence of the data", "", str(record["licence"])]
    facts = {name: record[key] for name, key in _FACTS if key in record}
    lines += ["", "## Training", "", *_items(facts)]
    if "recipe" in record:
        said = {name: value for name, value in flat(record["recipe"]).items() if value is not None}
        lines += ["", "Recipe:", "", *(f"- {name} = {value}" for name, value in said.items())]
    return "\n".join(lines) + "\n"


_SECTIONS = (("Data", "data"), ("Losses at the last step", "losses"), ("Seconds per stage", "seconds"))

_ORIGINS = (("Started from a checkpoint", "started from"),)

_FACTS = (
    ("command", "command"),
    ("data", "collected with"),
    ("note", "note"),
    ("seed", "seed"),
    ("device", "device"),
    ("processes", "processes"),
)


def _items(values: dict[str, Any]) -> list[str]:
    return [f"- {name}: {_text(value)}" for name, value in values.items()]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    return f"`{value}`" if isinstance(value, str) else str(value)
