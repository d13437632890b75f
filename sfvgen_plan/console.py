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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from textwrap import fill
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

SECONDS_BETWEEN_LINES = 10.0
LONGEST_NAME = 30
WIDTH = 80
"""Columns of sentences, and of a table that goes into a file or a pipe."""


class Bar(Protocol):
    """Progress that may be shown or not."""

    def advance(self, steps: float = 1) -> None:
        """``steps`` more are done."""

    def describe(self, text: str) -> None:
        """Tell what is under way."""


def counter(bar: Bar) -> Callable[[int, Mapping[str, float]], None]:
    """What moves the bar when it is told the steps done so far and how they went."""
    done = 0

    def tell(steps: int, numbers: Mapping[str, float]) -> None:
        nonlocal done
        bar.advance(steps - done)
        bar.describe(" ".join(f"{name} {value:.3g}" for name, value in numbers.items()))
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

    def conclude(self, text: str) -> None:
        """What a person wants to know, in the last line."""
        if not self.json:
            print(fill(text, WIDTH), flush=True)

    @contextmanager
    def progress(self, title: str, total: float | None = None) -> Iterator[Bar]:
        """Progress on stderr while the block runs; ``total`` None means of unknown length."""
        if self.quiet:
            yield _Lines(title, total)
        elif sys.stderr.isatty():
            with _rich_bar(title, total) as bar:
                yield bar
        else:
            lines, over = _Lines(title, total), threading.Event()
            thread = threading.Thread(target=lines.speak, args=(over,), daemon=True)
            thread.start()
            try:
                yield lines
            finally:
                over.set()
                thread.join()


class StageBars:
    """Progress of work in stages: a bar for each, and for what comes before (``first``) and between them. A context
    manager."""

    def __init__(self, out: Output, first: str) -> None:
        self._out, self._stage = out, first
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._begin(self._stage)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def update(self, stage: str, step: int, steps: int, numbers: Mapping[str, float]) -> None:
        """Move the bar of ``stage`` to ``step`` and show its numbers."""
        if stage != self._stage:
            self._begin(stage, steps)
        self._tell(step, numbers)
        if step == steps:
            self._begin(f"after {stage}")

    def _begin(self, stage: str, steps: int | None = None) -> None:
        self._open.close()
        self._stage = stage
        self._tell = counter(self._open.enter_context(self._out.progress(stage, total=steps)))


def table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """A table for ``Output.result``, numbers to the right. Cells are shown as they are: names may come from anywhere,
    and brackets in them are no markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=Text(title) if title else None, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    made.title_justify = made.caption_justify = "left"
    for index, column in enumerate(columns):
        # Where a table is too wide, its numbers are folded before the names are.
        whole = index == 0 and max((len(str(row[0])) for row in rows), default=0) <= LONGEST_NAME
        numbers = index > 0 and all(str(row[index])[:1] in "+-–0123456789" for row in rows)
        made.add_column(column, justify="right" if numbers else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        made.add_row(*(Text(str(cell)) for cell in row))
    return made


@dataclass
class _Lines:
    """Counts, and says how far it is every now and then."""

    title: str
    total: float | None
    done: float = 0
    detail: str = ""
    started: float = field(default_factory=time.monotonic)

    def advance(self, steps: float = 1) -> None:
        self.done += steps

    def describe(self, text: str) -> None:
        self.detail = text

    def speak(self, over: threading.Event) -> None:
        while not over.wait(SECONDS_BETWEEN_LINES):
            count = f"{self.done:.0f}" + ("" if self.total is None else f"/{self.total:.0f}")
            far = f"{count} after " if self.total is not None or self.done else ""
            seconds = time.monotonic() - self.started
            detail = f" ({self.detail})" if self.detail else ""
            print(f"{self.title}: {far}{seconds:.0f} s{detail}", file=sys.stderr, flush=True)


class _Visible:
    def __init__(self, progress: Any, task: Any) -> None:
        self._progress = progress
        self._task = task

    def advance(self, steps: float = 1) -> None:
        self._progress.advance(self._task, steps)

    def describe(self, text: str) -> None:
        self._progress.update(self._task, detail=text)


@contextmanager
def _rich_bar(title: str, total: float | None) -> Iterator[Bar]:
    """A bar; one of unknown length is gone when it ends."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    # The last column has what room there is, and is cut.
    rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}", markup=False, table_column=rest),
    )
    with Progress(*columns, console=Console(stderr=True), transient=total is None, expand=True) as progress:
        yield _Visible(progress, progress.add_task(title, total=total, detail=""))


def _finite(data: Any) -> Any:
    """The same data without the numbers that JSON has no word for."""
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return data
