"""Is the end of a write-ahead log torn? (SQLite file format, section 4: https://www.sqlite.org/fileformat2.html)

SQLite takes the log up to the first frame whose checksum is wrong and says nothing of the rest. That is right where a
process was killed while it wrote, but frames lost to a damaged disk would go unnoticed.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

HEADER, FRAME = 32, 24
MAGIC = 0x377F0682
"""Its lowest bit says that checksums are over big-endian numbers."""

LARGEST = 32_000_000
"""Bytes of a log up to which it is looked through; a larger one is that of a transaction of many thousand rows."""


def torn(store: Path) -> bool:
    """Whether the log of ``store`` goes on with a frame of its own that is not what was written. A process that writes
    at this moment is given the time to finish."""
    path = store.with_name(store.name + "-wal")
    if not _torn(path):
        return False
    time.sleep(0.2)
    return _torn(path)


def _torn(path: Path) -> bool:
    try:
        if not HEADER < path.stat().st_size <= LARGEST:
            return False
        data = path.read_bytes()
    except OSError:
        return False
    magic, _, page, _, *salts = struct.unpack(">6I", data[:24])
    if magic & ~1 != MAGIC or page < 512:
        return True
    order = ">" if magic & 1 else "<"
    state = _checksum(data[:24], (0, 0), order)
    if state != struct.unpack(">2I", data[24:32]):
        return True
    for start in range(HEADER, len(data), FRAME + page):
        frame = data[start : start + FRAME + page]
        if len(frame) < FRAME or list(struct.unpack(">2I", frame[8:16])) != salts:
            return False  # Left over from before the log was begun anew.
        state = _checksum(frame[FRAME:], _checksum(frame[:8], state, order), order)
        if len(frame) < FRAME + page or state != struct.unpack(">2I", frame[16:24]):
            return True
    return False


def _checksum(data: bytes, state: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = state
    whole = len(data) // 8 * 8
    numbers = iter(struct.unpack(f"{order}{whole // 4}I", data[:whole]))
    for even, odd in zip(numbers, numbers, strict=False):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
