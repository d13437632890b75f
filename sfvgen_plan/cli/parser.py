"""argparse with one-line errors, nearest names, and overrides anywhere among the options."""

import re
from argparse import SUPPRESS, Action, ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from shutil import get_terminal_size
from textwrap import fill
from typing import Any, NoReturn

from sfvgen_plan import __version__
from sfvgen_plan.arguments import add_output_arguments
from sfvgen_plan.errors import UserError, unknown_name

PROGRAM = "sfvgen-plan"


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
        agents = getattr(args, "agent", [])
        about = map(explain_settings, [agents] if isinstance(agents, str) else agents)
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
