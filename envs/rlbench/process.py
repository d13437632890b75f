"""The owner's side of the worker process: starts it, calls it, and makes sure that it ends."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
import weakref
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from sfvgen_plan.envs.rlbench.settings import WorkerSettings
from sfvgen_plan.errors import SimulatorError, UserError

WORKER = Path(__file__).with_name("worker.py")
_LOG_TAIL = 4096
_LOG_LIMIT = 1_000_000
_REAPING_SECONDS = 10.0


class SimulatorDiedError(SimulatorError):
    """The worker process ended by itself. ``exit_code`` is 134 after an abort, as shells have it."""

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class RefusedError(Exception):
    """The worker lives but could not do what was asked: ``kind`` is a word of its own or the exception's name."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class WorkerProcess:
    """One running worker.

    Args:
        settings: interpreter, variables and patience.
        images: whether it will film, which needs a display.

    Raises:
        UserError: the interpreter is not there, or is no Python that can run the worker.
    """

    def __init__(self, settings: WorkerSettings, images: bool) -> None:
        _ = settings.interpreter  # Missing? Then nothing needs to be cleaned up yet.
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this
        self._popen, self._pipe, lifeline = _start(settings, images, self._log)
        self.frames = b""
        self.pid = self._popen.pid
        # Also when nobody closes: no worker outlives the object, or this process.
        self._end = weakref.finalize(self, _end, self._popen, self._pipe, lifeline)
        weakref.finalize(self, self._log.close)  # It is read once more after the end.
        self._greet(settings)

    @property
    def alive(self) -> bool:
        """Whether it can still be called."""
        return self._end.alive

    def call(self, name: str, seconds: float, **arguments: Any) -> dict[str, Any]:
        """Have the worker do ``name`` and return what it answers; ``frames`` are the newest ones then. Raises
        RefusedError: it could not, and may be called again; SimulatorDiedError: it ended meanwhile; SimulatorError: it
        took longer than ``seconds``, and was killed."""
        answer: dict[str, Any] | None = None
        try:
            self._pipe.send_bytes(json.dumps({"call": name, **arguments}).encode())
            if not self._pipe.poll(seconds):
                message = f"RLBench did not answer {name!r} within {seconds:g} s and was stopped{self._last_words()}"
                raise SimulatorError(message)
            answer, self.frames = json.loads(self._pipe.recv_bytes()), self._pipe.recv_bytes()
        except (EOFError, OSError):
            raise self._death(name) from None
        except ValueError as error:
            raise SimulatorError(f"the worker's answer to {name!r} can't be read ({error})") from error
        finally:
            if answer is None:  # Interrupted, too: the answer that is still to come would be taken for the next one.
                self.kill()
        if "error" in answer:
            raise RefusedError(**answer["error"])
        if os.fstat(self._log.fileno()).st_size > _LOG_LIMIT:
            self._log.truncate(0)
        return answer["value"]

    def close(self, seconds: float) -> None:
        """Shut the simulator down, by force if it does not within ``seconds``. Closing twice is fine."""
        if self.alive:
            with contextlib.suppress(SimulatorError, RefusedError):
                self.call("close", seconds)
        self.kill()

    def kill(self) -> None:
        """End the worker and everything it has started, now."""
        self._end()

    def _greet(self, settings: WorkerSettings) -> None:
        try:
            self.call("hello", settings.start_seconds)
        except (SimulatorError, RefusedError) as error:
            self.kill()
            raise UserError(
                f"python={settings.interpreter!r} can't run the RLBench worker ({error}); give a Python 3.8 or newer"
            ) from None

    def _death(self, name: str) -> SimulatorDiedError:
        """The pipe has ended: find out how the process did."""
        _await_exit(self._popen.pid)
        self.kill()
        code = self._popen.returncode
        code = 128 - code if code is not None and code < 0 else code
        message = f"RLBench's process ended with exit code {code} during {name!r}{self._last_words()}"
        return SimulatorDiedError(message, code)

    def _last_words(self) -> str:
        """The last line that the worker printed, in brackets."""
        size = os.fstat(self._log.fileno()).st_size
        tail = os.pread(self._log.fileno(), _LOG_TAIL, max(0, size - _LOG_TAIL)).decode(errors="replace")
        lines = [line.strip(" \t\r\0") for line in tail.splitlines()]
        lines = [line for line in lines if line]
        return f" ({lines[-1]})" if lines else ""


def _start(settings: WorkerSettings, images: bool, log: IO[bytes]) -> tuple[subprocess.Popen[bytes], Connection, int]:
    """Process, our end of the connection, and the pipe end whose closing ends the process."""
    ours, theirs = Pipe()
    reading, writing = os.pipe()
    command = [settings.interpreter, str(WORKER), *map(str, (theirs.fileno(), reading))]
    try:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=settings.environment(images),
            pass_fds=(theirs.fileno(), reading),
            start_new_session=True,  # Ctrl-C in a terminal is for us alone, and what the worker starts dies with it.
        )
    except OSError as error:
        ours.close()
        os.close(writing)
        raise UserError(f"python={settings.interpreter!r} can't be started ({error}); give a Python") from error
    finally:
        theirs.close()
        os.close(reading)
    return popen, ours, writing


def _await_exit(pid: int) -> None:
    """Give a process that has closed its pipe time to end, and leave it unreaped."""
    deadline = time.monotonic() + _REAPING_SECONDS
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.002)


def _end(popen: subprocess.Popen[bytes], pipe: Connection, lifeline: int) -> None:
    pipe.close()
    # While the process is not waited for, its number can't belong to another one.
    if popen.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(popen.pid, signal.SIGKILL)
    os.close(lifeline)
    deadline = time.monotonic() + _REAPING_SECONDS
    with contextlib.suppress(subprocess.TimeoutExpired):
        popen.wait(max(0.0, deadline - time.monotonic()))
