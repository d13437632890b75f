"""Settings of agents: packaged YAML files, and frozen dataclasses made of plain mappings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

from sfvgen_plan.errors import UserError, unknown_name

Made = TypeVar("Made")


def packaged_settings(name: str) -> dict[str, Any]:
    """What ``configs/agent/<name>.yaml`` says, with the files that its ``defaults`` list names underneath."""
    import yaml

    import sfvgen_plan.configs

    file = Path(sfvgen_plan.configs.__path__[0]) / "agent" / f"{name}.yaml"
    own = yaml.safe_load(file.read_text()) or {}
    settings: dict[str, Any] = {}
    for parent in own.pop("defaults", []):
        if parent != "_self_":
            settings = merged(settings, packaged_settings(parent))
    return merged(settings, own)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` on top, group by group; neither is changed."""
    result = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if nested else value
    return result


def changed(name: str, base: Mapping[str, Any], changes: Mapping[str, Any], prefix: str = "agent") -> dict[str, Any]:
    """``merged``, but refuses settings that the agent ``name`` does not have."""
    for key, value in changes.items():
        if key not in base:
            raise unknown_name(f"setting of agent {name}", f"{prefix}.{key}", [f"{prefix}.{known}" for known in base])
        if isinstance(value, Mapping) and isinstance(base[key], Mapping):
            changed(name, base[key], value, f"{prefix}.{key}")
    return merged(base, changes)


def make(kind: type[Made], settings: Mapping[str, Any], **given: Any) -> Made:
    """A dataclass from the settings that are named like its fields, and from what is ``given``.

    Raises:
        UserError: a value of another type than the field's default.
    """
    values = dict(given)
    for item in fields(kind):  # type: ignore[arg-type]
        if item.name in settings and item.name not in given:
            values[item.name] = _typed(item.name, item.default, settings[item.name])
    return kind(**values)


def _typed(name: str, default: Any, value: Any) -> Any:
    if default is None or default is MISSING:
        return value
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise UserError(f"{name}={value!r} must be of type {type(default).__name__}, such as {default!r}")
    return value
