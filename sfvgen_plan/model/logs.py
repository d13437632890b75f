"""What the libraries log while something is loaded."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler

LIBRARIES = ("diffusers", "transformers", "huggingface_hub")
MANY = 10**6  # lines, or a level, that nothing reaches


@contextmanager
def held_back() -> Iterator[None]:
    """What the libraries log within the block is shown after it. Where the block raises it never is: the error says it,
    and would be one line among others."""
    held = MemoryHandler(MANY, flushLevel=MANY)
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
    for record in held.buffer:
        logging.getLogger(record.name).handle(record)
