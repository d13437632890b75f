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
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

from sfvgen_plan.arguments import BAD_INPUT, check_outputs
from sfvgen_plan.cli.parser import parse_arguments
from sfvgen_plan.errors import UserError

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
