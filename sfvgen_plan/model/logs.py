"""What the libraries log and show while something is loaded or saved."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler

LIBRARIES = ("diffusers", "transformers", "huggingface_hub")
MANY = 10**6  # lines, or a level, that nothing reaches


@contextmanager
def held_back() -> Iterator[None]:
    """What the libraries log within the block is shown after it, and their progress bars never. Where the block raises,
    the logs aren't either: the error says it, and would be one line among others."""
    hide_progress_bars()
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


def hide_progress_bars() -> None:
    """Loading takes a second; the libraries' own bars would only clutter the terminal."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
