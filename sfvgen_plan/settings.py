"""Settings: defaults in frozen dataclasses, or in Hydra's YAML where recipes differ; both are changed by ``key=value``.

Settings are made here, at the edge; everything below takes plain values.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from math import inf, isfinite
from pathlib import Path
from typing import Any, TypeVar

from sfvgen_plan.errors import UserError, reason, unknown_name

Made = TypeVar("Made")

REQUIRED = "???"  # OmegaConf's mark of a value that has no default
MOST = 30  # settings that are listed in full for a key that is like none of them
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list", tuple: "a list"}


def setting(default: Any, text: str, least: float | None = None, most: float = inf, above: bool = False) -> Any:
    """A field of ``Settings``: its default, what it means in one line, and of a number the bounds of
    ``check_number``."""
    return field(default=default, metadata={"text": text, "bounds": least is not None and (least, most, above)})


def bounded(default: Any, least: float, most: float = inf, above: bool = False) -> Any:
    """A number of ``Settings`` that its class explains; ``...``: it has no default."""
    own: dict[str, Any] = {} if default is ... else {"default": default}
    return field(**own, metadata={"bounds": (least, most, above)})


@dataclass(frozen=True)
class Settings:
    """Settings, whose fields ``setting`` or ``bounded`` make. Raises UserError: a number that is out of its bounds."""

    def __post_init__(self) -> None:
        for item in fields(self):
            bounds, value = item.metadata.get("bounds"), getattr(self, item.name)
            if bounds and value is not None:
                check_number(item.name, value, *bounds)


def check_number(name: str, value: float, least: float, most: float = inf, above: bool = False) -> None:
    """UserError for what is no finite number, or not between ``least`` and ``most``; ``above``: nor ``least``."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    if not number or value < least or value > most or (above and value == least):
        upper = "" if most == inf else f" and at most {most:g}"
        raise UserError(f"{name}={value} must be {'above' if above else 'at least'} {least:g}{upper}")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names, in their order."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[f"{prefix}{name}"] = value
    return out


def explained(kind: type, prefix: str = "") -> list[str]:
    """``key=default`` and the meaning of every setting of a dataclass, a line each."""
    texts = {item.name: item.metadata["text"] for item in fields(kind)}
    named = [(f"{prefix}{name}={_as_yaml(default)}", texts[name]) for name, default in asdict(kind()).items()]
    width = max((len(name) for name, _ in named), default=0)
    return [f"{name:<{width}}  {text}" for name, text in named]


def configured(kind: type[Made], changes: Sequence[str] | Mapping[str, Any] = (), group: str = "") -> Made:
    """A dataclass of settings, whose fields all have defaults, with some of them changed: ``key=value`` of a command
    line, with the ``group`` and a dot before the keys, or values by their keys. Raises UserError: see ``changed``; and
    what ``kind`` refuses.

    Example:
        >>> configured(Settings, ["agent.horizon=6"], "agent").horizon
        6
    """
    defaults = {item.name: item.default for item in fields(kind)}  # type: ignore[arg-type]
    prefix = f"{group}." if group else ""
    if isinstance(changes, Mapping):
        given = [(f"{prefix}{key}", value, f"{prefix}{key}={value!r}") for key, value in changes.items()]
    else:
        given = [(*parsed(text), text) for text in changes]
    nested = {group: defaults} if group else defaults
    values = _with_changes(nested, given)
    return kind(**(values[group] if group else values))


def of_group(overrides: Sequence[str], group: str) -> tuple[list[str], list[str]]:
    """Overrides of a group's settings, and the others. Raises UserError: one names the group, which has an option."""
    for text in overrides:
        if text.partition("=")[0] == group:
            raise UserError(f"override {text!r} names no setting; choose with --{group}, and set {group}.key=value")
    inside = [text for text in overrides if text.startswith(f"{group}.")]
    return inside, [text for text in overrides if text not in inside]


def compose(name: str, overrides: Sequence[str] = (), config_dir: Path | None = None) -> dict[str, Any]:
    """The configuration ``<name>.yaml`` of a folder (default: the packaged ``configs``) with ``overrides`` applied, as
    plain values: ``key=value`` (dotted keys) or ``group=choice``, where a group is a folder in it. Raises UserError: an
    unknown choice; see ``changed``.

    Example:
        >>> compose("train", ["train=small", "train.video.fit.steps=64"])["train"]["video"]["fit"]["steps"]
        64
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    import sfvgen_plan.configs

    folder = (config_dir or Path(sfvgen_plan.configs.__path__[0])).resolve()
    groups = [text for text in overrides if (folder / _key_of(text)).is_dir()]
    for text in groups:
        group, _, choice = text.partition("=")
        choices = sorted(path.stem for path in (folder / group).glob("*.yaml"))
        if choice not in choices:
            raise unknown_name(group, choice, choices)
    try:
        with initialize_config_dir(config_dir=str(folder), version_base="1.3"):
            defaults: Any = OmegaConf.to_container(hydra_compose(name, overrides=groups), resolve=True)
    except HydraException as error:
        raise UserError(f"configuration {name!r} can't be composed ({reason(error)})") from error
    result = changed(defaults, [text for text in overrides if text not in groups])
    for key, value in flat(result).items():
        if value == REQUIRED:
            raise UserError(f"setting {key} has no default; add {key}=...")
    return result


def changed(defaults: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Nested settings with ``key=value`` (dotted keys) applied; ``defaults`` stays as it is.

    The type of a value is that of its default; a float takes a whole number; a default of null or ??? takes anything.
    Raises UserError: an override that is not ``key=value``, names no setting, or has a value of another type or one
    that can't be read.
    """
    return _with_changes(defaults, [(*parsed(text), text) for text in overrides])


def parsed(text: str) -> tuple[str, Any]:
    """Key and value, which is YAML, of ``key=value``. Raises UserError: another form, or a value that can't be read."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    key = _key_of(text)
    try:
        found: Any = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text.partition('=')[2]}"]))
    except (OmegaConfBaseException, YAMLError) as error:
        raise UserError(f"override {text!r} can't be read; close every bracket and quotation mark") from error
    return key, found["value"]


def _with_changes(defaults: Mapping[str, Any], changes: Iterable[tuple[str, Any, str]]) -> dict[str, Any]:
    """``defaults`` with (dotted key, value, how it was given) applied."""
    result = deepcopy(dict(defaults))
    for key, value, text in changes:
        *parents, leaf = key.split(".")
        node: Any = result
        for part in parents:
            node = node.get(part) if isinstance(node, Mapping) else None
        if not isinstance(node, dict) or leaf not in node:
            raise UserError(f"override {text!r} names no setting; did you mean {', '.join(_nearest(key, result))}?")
        if isinstance(node[leaf], Mapping):
            names = flat(node[leaf], f"{key}.")
            raise UserError(f"override {text!r}: {key} is a group of settings; set {', '.join(names)}")
        default, node[leaf] = node[leaf], _like(node[leaf], value)
        if not _same_type(default, node[leaf]):
            raise UserError(f"override {text!r}: {key} takes {_WORDS[type(default)]}, such as {_as_yaml(default)}")
    return result


def _nearest(key: str, config: Mapping[str, Any]) -> list[str]:
    """Known keys of the same last part, or else those that are spelt alike, or else all that fit into a line."""
    keys = list(flat(config))
    leaf = key.rpartition(".")[2]
    same_leaf = [known for known in keys if known.rpartition(".")[2] == leaf]
    return same_leaf or get_close_matches(key, keys, n=3, cutoff=0.5) or (keys if len(keys) < MOST else list(config))


def _key_of(text: str) -> str:
    key, equals, _ = text.partition("=")
    plain = key.replace("/", "").replace(".", "").replace("_", "").replace("-", "").isalnum()
    if not equals or not plain:
        raise UserError(f"override {text!r} is not of the form key=value")
    return key


def _like(default: Any, value: Any) -> Any:
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if isinstance(default, (list, tuple)) and isinstance(value, list) and default:
        return type(default)(_like(default[0], item) for item in value)
    return value


def _same_type(default: Any, value: Any) -> bool:
    if default is None or default == REQUIRED:
        return True
    if type(default) is not type(value):
        return False
    return not isinstance(default, (list, tuple)) or not default or all(_same_type(default[0], item) for item in value)


def _as_yaml(value: Any) -> str:
    if isinstance(value, tuple):
        value = list(value)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
