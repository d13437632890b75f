"""What the libraries log while something is loaded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LIBRARIES = ("diffusers", "transformers", "huggingface_hub")


@contextmanager
def held_back() -> Iterator[None]:
    """What the libraries log within the block is shown after it. Where the block raises it never is: the error says it,
    and would be one line among others."""
    held = _Held()
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    before = [(logger.handlers[:], logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [held], False
    try:
        yield
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            added = [handler for handler in logger.handlers if handler is not held]  # by a library that set itself up
            logger.handlers, logger.propagate = [*handlers, *added], propagate
    for record in held.records:
        logging.getLogger(record.name).handle(record)


class _Held(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self.records.append(record)
