"""What metrics need beyond the package's own dependencies: libraries, and the published weights that define them.

Nothing is downloaded, and nothing else stands in for the weights.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from sfvgen_plan.errors import UserError


class Unavailable(UserError):
    """A metric can't be had here: its library or weights are missing, or the frames are too small for it."""


@dataclass(frozen=True)
class PublishedWeights:
    """One file.

    Attributes:
        metric: what it defines.
        file: its name.
        digest: start of its SHA-256, in hexadecimal digits.
        url: where it is published.
    """

    metric: str
    file: str
    digest: str
    url: str

    def find(self, folder: Path | None = None) -> Path:
        """The file in ``folder``, or else in torch's cache (``torch.hub.get_dir()``), its content checked.

        Raises:
            Unavailable: it is in neither.
            UserError: what is there is something else.
        """
        folders = [*([Path(folder)] if folder is not None else []), Path(torch.hub.get_dir()) / "checkpoints"]
        for path in (place / self.file for place in folders):
            if path.is_file():
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
                if not found.startswith(self.digest):
                    raise UserError(
                        f"weights={str(path)!r} are not those that {self.metric} is defined by (SHA-256 "
                        f"{found[:12]}…, published {self.digest[:12]}…); replace them by {self.url}"
                    )
                return path
        raise Unavailable(
            f"{self.metric} needs {self.file}, which is not in {' or '.join(map(str, folders))}; "
            f"put it there from {self.url}"
        )


_FILE = "alexnet-owt-7be5be79.pth"
ALEXNET = PublishedWeights("LPIPS", _FILE, "7be5be79", f"https://download.pytorch.org/models/{_FILE}")


def import_extra(module: str) -> Any:
    """Import a module of the extra ``metrics``.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise Unavailable(f"{name} is not installed; pip install torchmetrics scenedetect-headless") from error


def check_side(metric: str, frames: tuple[int, ...], smallest: int) -> None:
    """Refuse frames whose shape (..., H, W, C) has a side below ``smallest``.

    Raises:
        Unavailable: it has.
    """
    if min(frames[-3:-1]) < smallest:
        raise Unavailable(f"size={min(frames[-3:-1])} is too small for {metric}; give frames of at least {smallest}")
