"""What a program says: its result on stdout, notes and progress on stderr.

``--json`` makes stdout one JSON document; ``--quiet`` hides notes and progress. A terminal gets a progress bar,
anything else a line every ten seconds.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

SECONDS_BETWEEN_LINES = 10.0
LONGEST_NAME = 30
WIDTH = 80
"""Columns of a table that goes into a file or a pipe."""


class Bar(Protocol):
    """Progress that may be shown or not."""

    def advance(self, steps: float = 1) -> None:
        """``steps`` more are done."""

    def describe(self, text: str) -> None:
        """Replace the text in front."""


def counter(bar: Bar, title: str) -> Callable[[int, Mapping[str, float]], None]:
    """What moves the bar when it is told the steps done so far and how they went."""
    done = 0

    def tell(steps: int, numbers: Mapping[str, float]) -> None:
        nonlocal done
        bar.advance(steps - done)
        bar.describe(" ".join([title, *(f"{name} {value:.3g}" for name, value in numbers.items())]))
        done = steps

    return tell


@dataclass(frozen=True)
class Output:
    """The voice of one program.

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

            Console(width=None if sys.stdout.isatty() else WIDTH).print(text)

    @contextmanager
    def progress(self, description: str, total: float | None = None) -> Iterator[Bar]:
        """Progress on stderr while the block runs; ``total`` None means of unknown length."""
        if self.quiet:
            yield _Lines(description, total)
        elif sys.stderr.isatty():
            with _rich_bar(description, total) as bar:
                yield bar
        else:
            lines, over = _Lines(description, total), threading.Event()
            thread = threading.Thread(target=lines.speak, args=(over,), daemon=True)
            thread.start()
            try:
                yield lines
            finally:
                over.set()
                thread.join()


def table(
    title: str | None, columns: Sequence[str], rows: Sequence[Sequence[Any]], texts: Collection[int] = (0,)
) -> Table:
    """A table for ``Output.result``: the columns numbered ``texts`` are text, which may be folded, the others numbers.
    Cells are shown as they are: names may come from anywhere, and brackets in them are no markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=Text(title) if title else None, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    made.title_justify = made.caption_justify = "left"
    for index, column in enumerate(columns):
        # Where a table is too wide, its numbers are folded before the names are.
        whole = index == 0 and max((len(str(row[0])) for row in rows), default=0) <= LONGEST_NAME
        made.add_column(column, justify="left" if index in texts else "right", overflow="fold", no_wrap=whole)
    for row in rows:
        made.add_row(*(Text(str(cell)) for cell in row))
    return made


@dataclass
class _Lines:
    """Counts, and says how far it is every now and then."""

    text: str
    total: float | None
    done: float = 0
    started: float = field(default_factory=time.monotonic)

    def advance(self, steps: float = 1) -> None:
        self.done += steps

    def describe(self, text: str) -> None:
        self.text = text

    def speak(self, over: threading.Event) -> None:
        while not over.wait(SECONDS_BETWEEN_LINES):
            of = "" if self.total is None else f"/{self.total:.0f}"
            seconds = time.monotonic() - self.started
            print(f"{self.text}: {self.done:.0f}{of} after {seconds:.0f} s", file=sys.stderr, flush=True)


class _Visible:
    def __init__(self, progress: Any, task: Any) -> None:
        self._progress = progress
        self._task = task

    def advance(self, steps: float = 1) -> None:
        self._progress.advance(self._task, steps)

    def describe(self, text: str) -> None:
        self._progress.update(self._task, description=text)


@contextmanager
def _rich_bar(description: str, total: float | None) -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Visible(progress, progress.add_task(description, total=total))


def _finite(data: Any) -> Any:
    """The same data without the numbers that JSON has no word for."""
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return data
