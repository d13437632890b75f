"""Options that programs share, the types of their values, and how a program ends on bad input."""

import sys
from argparse import Action, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from typing import Any

from sfvgen_plan.errors import UserError
from sfvgen_plan.io import check_writable

BAD_INPUT = 2


def positive_int(text: str) -> int:
    """argparse type: a whole number from 1."""
    return _int_from(text, 1)


def non_negative_int(text: str) -> int:
    """argparse type: a whole number from 0."""
    return _int_from(text, 0)


def _int_from(text: str, lowest: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a whole number") from None
    if value < lowest:
        raise ArgumentTypeError(f"{value} is too small; use {lowest} or more")
    return value


def add_output_arguments(parser: ArgumentParser) -> None:
    """``--quiet`` and ``--json``, which every program has."""
    group = parser.add_argument_group("output")
    group.add_argument("--quiet", action="store_true", help="no notes and no progress, only the result")
    group.add_argument("--json", action="store_true", help="the result as one JSON document on stdout; implies --quiet")


def add_overrides(parser: ArgumentParser, group: str = "") -> None:
    """Positional ``key=value`` settings, as ``args.overrides``; those of a ``group`` have its name before them."""
    key = f"{group}.key" if group else "key"
    text = f"a setting of the {group}; `--{group} NAME --help` lists them" if group else "change a setting"
    parser.add_argument("overrides", nargs="*", default=[], metavar=f"{key}=value", help=text)


class CheckpointAction(Action):
    """Stores a checkpoint's folder or name, if there is a checkpoint: that is told long before torch is imported."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: Any = None) -> None:
        from sfvgen_plan.catalogue import find_checkpoint

        setattr(namespace, self.dest, str(find_checkpoint(values, self.dest)))


def add_model_arguments(parser: ArgumentParser) -> None:
    """``--checkpoint`` and ``--device``."""
    text = "checkpoint: its folder or name (default: metaworld50)"
    parser.add_argument("--checkpoint", metavar="PATH", action=CheckpointAction, help=text)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")


def check_outputs(args: Namespace) -> None:
    """Refuse what can't be written to before anything slow. Raises UserError: it is named with its option."""
    for name in ("out", "video", "picture", "html"):
        if path := getattr(args, name, None):
            check_writable(path, name)


def exit_code(program: Callable[[], object]) -> int:
    """Run a program that is no verb of ``sfvgen-plan``: 0, or 2 and one line on stderr for bad input."""
    try:
        program()
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    return 0


def run_script(
    parser: ArgumentParser, run: Callable[[Namespace], object], arguments: Sequence[str] | None = None
) -> int:
    """Parse ``arguments`` (None: those of the process) with the options of the output added, and ``run`` with them; the
    exit code. For programs beside the verbs."""
    add_output_arguments(parser)

    def program() -> None:
        args = parser.parse_intermixed_args(arguments)
        check_outputs(args)
        run(args)

    return exit_code(program)
