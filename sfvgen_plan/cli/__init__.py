"""The command line, ``sfvgen-plan <verb>``: picks the verb, runs it and turns its end into an exit code.

A verb is one module of this package, with underscores for its hyphens, with

- ``HELP``: one line for ``sfvgen-plan --help``,
- ``add_arguments(parser)``: its options (``--quiet`` and ``--json`` are there already),
- ``SETTINGS``: "module:dataclass" of ``key=value`` that ``--help`` lists, with those of agents; or ``explain(args)``,
- ``run(args) -> int``: the exit code; bad input raises ``UserError``.

Verb modules import heavy packages inside ``run`` only, so that help and mistyped options answer at once.

Exit codes: 0 done, 1 the verb says so (see its help), 2 bad input, 130 Ctrl-C, 143 SIGTERM.
"""

import errno
import os
import re
import signal
import sys
import threading
from argparse import SUPPRESS, Action, ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from shutil import get_terminal_size
from textwrap import fill
from types import FrameType
from typing import Any, NoReturn

from sfvgen_plan import __version__
from sfvgen_plan.arguments import BAD_INPUT, add_output_arguments, check_outputs
from sfvgen_plan.errors import UserError, unknown_name

PROGRAM = "sfvgen-plan"

VERBS = (
    "eval", "imagine", "play", "leaderboard", "fidelity", "bench", "collect", "train", "train-agent", "improve",
    "doctor",
)  # fmt: skip

NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG)
"""Errors of the system that a user can mend by another path, whoever meets them."""

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and return the exit code."""
    try:
        with _sigterm_unwinds():
            modules = {verb: import_module(f"{__name__}.{verb.replace('-', '_')}") for verb in VERBS}
            args = parse_arguments(sys.argv[1:] if argv is None else argv, modules)
            check_outputs(args)
            return int(modules[args.verb].run(args))
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted; finished work is kept", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (`| head`) left. Python would complain again while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        print(f"error: {error.filename or 'a file'} can't be written ({error.strerror}); give another", file=sys.stderr)
        return BAD_INPUT


@contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """SIGTERM becomes ``SystemExit`` inside, so that ``finally`` blocks run and finished work is kept."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread may install handlers.
        return

    def unwind(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    previous = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


class VerbParser(ArgumentParser):
    """Raises ``UserError`` where argparse would print usage and exit."""

    def error(self, message: str) -> NoReturn:
        for action in self._actions:
            # Of an option that is missing its help says what to give.
            option = "/".join(action.option_strings)
            if action.required and action.help and option and message.endswith(f": {option}"):
                message = f"{message}, {action.help}"
        raise UserError(f"{message} (see `{self.prog} --help`)")


class _Help(Action):
    """``--help``: the options, and below them the verb's settings, as the options before it choose them."""

    def __init__(self, option_strings: Sequence[str], dest: str, verb: Any) -> None:
        super().__init__(option_strings, SUPPRESS, nargs=0, help="show this and exit")
        self._verb = verb

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: Any = None) -> None:
        explain = getattr(self._verb, "explain", self._settings)
        print("\n".join([parser.format_help(), *map(_folded, explain(namespace).splitlines())]))
        parser.exit()

    def _settings(self, args: Namespace) -> str:
        """Those of the dataclass that the verb names, and those of its agents."""
        named = getattr(self._verb, "SETTINGS", None)
        if named is None:
            return ""
        from sfvgen_plan.agents.registry import explain_settings
        from sfvgen_plan.envs.family import resolve
        from sfvgen_plan.settings import explained

        own: Any = resolve(named) if named else None
        agents = getattr(args, "agent", None)
        about = map(explain_settings, [agents] if isinstance(agents, str) else agents or ())
        return "\n".join([*(["settings", *explained(own)] if own else []), *about])


def _folded(line: str) -> str:
    """As wide as the terminal, what goes on under what it belongs to."""
    head = re.match(r" *\S+ {2,}| *", line)
    indent = " " * (head.end() if head else 0)
    width = get_terminal_size().columns - 2  # argparse leaves two as well
    return fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def parse_arguments(argv: Sequence[str], verbs: Mapping[str, Any]) -> Namespace:
    """The namespace of the verb's options, with ``verb`` naming it.

    ``verbs`` maps names to verb modules. ``--help`` and ``--version`` print and raise ``SystemExit``.
    """
    first = argv[0] if argv else "--help"
    if first in ("-h", "--help", "--version"):
        _overview(verbs).parse_args([first])
    if first.startswith("-"):
        raise UserError(
            f"{first!r} comes before the verb; write `{PROGRAM} <verb> {first}` (verbs: {', '.join(verbs)})"
        )
    if first not in verbs:
        raise unknown_name("verb", first, verbs)
    verb = verbs[first]
    parser = VerbParser(prog=f"{PROGRAM} {first}", description=verb.HELP, allow_abbrev=False, add_help=False)
    parser.add_argument("-h", "--help", action=_Help, verb=verb)
    verb.add_arguments(parser)
    add_output_arguments(parser)
    # Before argparse looks, because it would complain about a missing option that was only mistyped.
    _refuse_unknown_options(parser, argv[1:])
    args, rest = parser.parse_known_args(argv[1:], Namespace(verb=first))
    # argparse fills a positional once, from one place; overrides may stand anywhere among the options.
    if rest and (not hasattr(args, "overrides") or any(item.startswith("-") for item in rest)):
        raise UserError(f"unexpected argument {rest[0]!r} (see `{parser.prog} --help`)")
    if rest:
        args.overrides = [*args.overrides, *rest]
    return args


def _overview(verbs: Mapping[str, Any]) -> ArgumentParser:
    parser = VerbParser(
        prog=PROGRAM,
        description="Plan in a learned video simulator, act in the real one, and measure both.",
        epilog=f"`{PROGRAM} <verb> --help` shows the options of a verb.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    subparsers = parser.add_subparsers(title="verbs", metavar="<verb>")
    for name, module in verbs.items():
        subparsers.add_parser(name, help=module.HELP)
    return parser


def _refuse_unknown_options(parser: ArgumentParser, argv: Sequence[str]) -> None:
    known = parser._option_string_actions
    for item in argv:
        option = item.partition("=")[0]
        if item == "--":
            return
        if item.startswith("--") and option not in known:
            nearest = get_close_matches(option, known, n=2, cutoff=0.7)
            remedy = f"did you mean {', '.join(nearest)}?" if nearest else f"see `{parser.prog} --help`"
            raise UserError(f"unknown option {option!r}; {remedy}")
