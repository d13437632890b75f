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
from functools import partial
from textwrap import fill
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress
    from rich.table import Table

SECONDS_BETWEEN_LINES = 10.0
LONGEST_NAME = 30
WIDTH = 80  # columns of sentences, and of a table that goes into a file or a pipe


@dataclass
class Bar:
    """How far something is, which may be shown or not; ``total`` None is of unknown length."""

    title: str
    total: float | None = None
    show: Callable[..., None] = lambda **_: None
    done: float = 0
    detail: str = ""
    started: float = field(default_factory=time.monotonic)

    def advance(self, steps: float = 1) -> None:
        """``steps`` more are done."""
        self.done += steps
        self.show(completed=self.done)

    def describe(self, text: str) -> None:
        """Tell what is under way."""
        self.detail = text
        self.show(detail=text)

    def tell(self, done: int, numbers: Mapping[str, float]) -> None:
        """So many steps are done, and how they went."""
        self.advance(done - self.done)
        self.describe(" ".join(f"{name} {value:.3g}" for name, value in numbers.items()))

    def speak(self, over: threading.Event) -> None:
        """Say how far it is every now and then, until it is over."""
        while not over.wait(SECONDS_BETWEEN_LINES):
            count = f"{self.done:.0f}" + ("" if self.total is None else f"/{self.total:.0f}")
            far = f"{count} after " if self.total is not None or self.done else ""
            seconds = time.monotonic() - self.started
            detail = f" ({self.detail})" if self.detail else ""
            print(f"{self.title}: {far}{seconds:.0f} s{detail}", file=sys.stderr, flush=True)


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
        bar = Bar(title, total)
        if self.quiet:
            yield bar
        elif sys.stderr.isatty():
            with _rich(total is None) as progress:
                bar.show = partial(progress.update, progress.add_task(title, total=total, detail=""))
                yield bar
        else:
            over = threading.Event()
            thread = threading.Thread(target=bar.speak, args=(over,), daemon=True)
            thread.start()
            try:
                yield bar
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
        self._bar.tell(step, numbers)
        if step == steps:
            self._begin(f"after {stage}")

    def _begin(self, stage: str, steps: int | None = None) -> None:
        self._open.close()
        self._stage = stage
        self._bar = self._open.enter_context(self._out.progress(stage, total=steps))


def counted(number: int, what: str) -> str:
    """Such as "1 task" or "5 tasks"."""
    return f"{number} {what}{'s' * (number != 1)}"


def readable(value: float) -> str:
    """A number as people write it, such as ``158,100`` or ``0.0562``."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


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


def _rich(transient: bool) -> Progress:
    """Bars in a terminal; ``transient`` ones are gone when they end."""
    from rich import progress
    from rich.console import Console
    from rich.table import Column

    # The last column has what room there is, and is cut.
    rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=16),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[detail]}", markup=False, table_column=rest),
    )
    return progress.Progress(*columns, console=Console(stderr=True), transient=transient, expand=True)


def _finite(data: Any) -> Any:
    """The same data without the numbers that JSON has no word for."""
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return data
