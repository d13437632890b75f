"""What pools of tests hold. In a module of their own, because the processes import it."""

import gc
import os
import signal
import sys
from multiprocessing.connection import Connection

from sfvgen_plan.errors import UserError
from sfvgen_plan.pool import THREADS


class Odd:
    """Goes wrong in every way."""

    def __init__(self):
        self.calls = 0

    def close(self):
        self.calls = -1

    def count(self):
        self.calls += 1
        return self.calls

    def process(self):
        return os.getpid()

    def threads(self):
        return {os.environ.get(name) for name in THREADS}, bool({"torch", "numpy"} & set(sys.modules))

    def refuse(self):
        raise UserError("odd=1 is not even; give 2")

    def fail(self):
        raise ZeroDivisionError

    def end(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def tear(self):
        """Die in the middle of a message, as large ones are when their process is killed."""
        for item in gc.get_objects():
            if isinstance(item, Connection) and not item.closed and item.writable:
                os.write(item.fileno(), (4096).to_bytes(4, "big") + b"half")
        os._exit(3)

    def interrupt(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)


def refused():
    raise UserError("odd=3 can't be made; give 2")
