"""Settings: Hydra configs with checked ``key=value`` overrides.

Hydra builds the settings here, at the edge; everything below takes plain values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sfvgen_plan.errors import UserError, unknown_name
from sfvgen_plan.nested import flat


def compose(name: str, overrides: Sequence[str] = (), config_dir: Path | None = None) -> dict[str, Any]:
    """The configuration ``<name>.yaml`` with ``overrides`` applied, interpolations resolved, as plain values.

    Args:
        name: primary file in ``config_dir``, without the suffix.
        overrides: ``key=value`` (dotted keys) or ``group=choice``, where a group is a folder of ``config_dir``.
            The type of a value is that of its default; a float takes a whole number; a default of null or ???
            takes anything, and ??? has to be given.
        config_dir: default: the packaged ``configs``.

    Raises:
        UserError: an override that is not ``key=value``, names no key or choice, or has a value of another type or one
            that can't be read.

    Example:
        >>> compose("eval", ["agent=mppi", "agent.candidates=64"])["agent"]["candidates"]
        64
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    folder = (config_dir or _packaged_configs()).resolve()

    def composed(lines: Sequence[str], complete: bool) -> Any:
        try:
            with initialize_config_dir(config_dir=str(folder), version_base="1.3"):
                config = hydra_compose(name, overrides=list(lines))
            return OmegaConf.to_container(config, resolve=True, throw_on_missing=complete)
        except MissingMandatoryValue as error:
            raise UserError(f"setting {error.full_key} has no default; add {error.full_key}=...") from error
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(f"configuration {name!r}: {error}") from error

    groups = []
    settings = []
    for text in overrides:
        key = _key_of(text)
        if (folder / key).is_dir():
            _check_choice(folder / key, key, text.partition("=")[2])
            groups.append(text)
        else:
            settings.append((key, text))
    defaults = composed(groups, complete=False)
    for key, text in settings:
        _lookup(defaults, key, text)
        _check_readable(text)
    result = composed(overrides, complete=True)
    for key, text in settings:
        _adopt_type(result, defaults, key, text)
    return result


def _packaged_configs() -> Path:
    import sfvgen_plan.configs

    return Path(sfvgen_plan.configs.__path__[0])


def _key_of(text: str) -> str:
    key, equals, _ = text.partition("=")
    plain = key.replace("/", "").replace(".", "").replace("_", "").replace("-", "").isalnum()
    if not equals or not plain:
        raise UserError(f"override {text!r} is not of the form key=value")
    return key


def _check_readable(text: str) -> None:
    """What Hydra says of such values is about its grammar, and about sweeps, which there are none of here."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        several = OverridesParser.create().parse_override(text).is_sweep_override()
    except HydraException as error:
        raise unreadable(text) from error
    if several:
        raise UserError(f"override {text!r} has several values; give one, or a list in brackets, as in key=[1,2]")


def unreadable(text: str) -> UserError:
    """Error for an override whose value is no well-formed one."""
    return UserError(
        f"override {text!r} can't be read; close every bracket and quotation mark, and put text of special characters "
        "into quotation marks of its own, as in 'key=\"a=b\"'"
    )


def _check_choice(folder: Path, group: str, choice: str) -> None:
    choices = sorted(path.stem for path in folder.glob("*.yaml"))
    if choice not in choices:
        raise unknown_name(group, choice, choices)


def _lookup(config: Mapping[str, Any], key: str, text: str) -> Any:
    """The value at the dotted ``key``; an error with the nearest keys if there is none."""
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            raise UserError(f"override {text!r} names no setting; did you mean {', '.join(_nearest(key, config))}?")
        node = node[part]
    return node


def _nearest(key: str, config: Mapping[str, Any]) -> list[str]:
    keys = list(flat(config))
    leaf = key.rpartition(".")[2]
    same_leaf = [known for known in keys if known.rpartition(".")[2] == leaf]
    return same_leaf or get_close_matches(key, keys, n=3, cutoff=0.5) or list(config)


def _adopt_type(config: dict[str, Any], defaults: Mapping[str, Any], key: str, text: str) -> None:
    """Check the overridden value against its default; a whole number given for a float becomes one."""
    default = _lookup(defaults, key, text)
    *parents, leaf = key.split(".")
    node: Any = config
    for part in parents:
        node = node[part]
    if isinstance(default, Mapping):
        raise UserError(f"override {text!r}: {key} is a group of settings; set {', '.join(flat(default, f'{key}.'))}")
    node[leaf] = _like(default, node[leaf])
    if not _same_type(default, node[leaf]):
        raise UserError(f"override {text!r}: {key} takes {_WORDS[type(default)]}, such as {_as_yaml(default)}")


def _like(default: Any, value: Any) -> Any:
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if isinstance(default, list) and isinstance(value, list) and default:
        return [_like(default[0], item) for item in value]
    return value


def _same_type(default: Any, value: Any) -> bool:
    if default is None or default == MISSING:
        return True
    if type(default) is not type(value):
        return False
    return not isinstance(default, list) or not default or all(_same_type(default[0], item) for item in value)


MISSING = "???"
"""OmegaConf's mark of a value that has no default."""

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list"}


def _as_yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
