"""What a verb says: its result on stdout, notes and progress on stderr.

``--json`` makes stdout one JSON document; ``--quiet`` hides notes and progress; a bar needs a terminal.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sfvgen_plan.cli.devices import make_threads_patient
from sfvgen_plan.errors import UserError

if TYPE_CHECKING:
    from rich.console import RenderableType


def add_output_arguments(parser: ArgumentParser) -> None:
    """``--quiet`` and ``--json``, which every verb has."""
    group = parser.add_argument_group("output")
    group.add_argument("--quiet", action="store_true", help="no notes and no progress bar, only the result")
    group.add_argument("--json", action="store_true", help="the result as one JSON document on stdout; implies --quiet")


def exit_code(program: Callable[[], object]) -> int:
    """Run a program that is no verb of ``sfvgen-plan``: 0, or 2 and one line on stderr for bad input."""
    try:
        program()
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def run_script(
    parser: ArgumentParser, run: Callable[[Namespace], object], arguments: Sequence[str] | None = None
) -> int:
    """Parse ``arguments`` (None: those of the process) with the options of the output added, and ``run`` with them; the
    exit code. For programs beside the verbs."""
    add_output_arguments(parser)

    def program() -> None:
        args = parser.parse_args(arguments)
        make_threads_patient()
        run(args)

    return exit_code(program)


class Bar(Protocol):
    """A progress bar that may be invisible."""

    def advance(self, steps: float = 1) -> None:
        """``steps`` more are done."""

    def describe(self, text: str) -> None:
        """Replace the text in front of the bar."""


@dataclass(frozen=True)
class Output:
    """The voice of one verb.

    Example:
        >>> out = Output.of(args)
        >>> with out.progress("episodes", total=20) as bar:
        ...     bar.advance()
        >>> out.result({"success": 0.95}, "success 0.95")
    """

    quiet: bool = False
    json: bool = False

    @classmethod
    def of(cls, args: Namespace) -> Output:
        """From parsed options; also sends the library's log to stderr."""
        out = cls(quiet=args.quiet or args.json, json=args.json)
        logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
        logging.getLogger("sfvgen_plan").setLevel(logging.WARNING if out.quiet else logging.INFO)
        return out

    def note(self, text: str) -> None:
        """One line about what goes on."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def result(self, data: Any, text: RenderableType) -> None:
        """What was asked for: ``data`` as JSON (NaN and infinities become null), or ``text`` for people."""
        if self.json:
            print(json.dumps(_finite(data), indent=2, default=str))
        elif isinstance(text, str):
            print(text)
        else:
            from rich.console import Console

            # Without a terminal rich assumes 80 columns, which would fold tables that go into a file.
            Console(width=None if sys.stdout.isatty() else 160).print(text)

    @contextmanager
    def progress(self, description: str, total: float | None = None) -> Iterator[Bar]:
        """A bar on stderr while the block runs; ``total`` None means of unknown length."""
        if self.quiet or not sys.stderr.isatty():
            yield _Silent()
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task(description, total=total)
            yield _Visible(progress, task)


class _Silent:
    def advance(self, steps: float = 1) -> None: ...

    def describe(self, text: str) -> None: ...


class _Visible:
    def __init__(self, progress: Any, task: Any) -> None:
        self._progress = progress
        self._task = task

    def advance(self, steps: float = 1) -> None:
        self._progress.advance(self._task, steps)

    def describe(self, text: str) -> None:
        self._progress.update(self._task, description=text)


def _finite(data: Any) -> Any:
    """The same data without the numbers that JSON has no word for."""
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return data
