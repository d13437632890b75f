"""The published weights that define LPIPS, FVD and SRC. Nothing is downloaded, and nothing else stands in for them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from sfvgen_plan.errors import UserError


class WeightsMissing(UserError):
    """The published weights of a metric are not on this machine; the metric has to be left out."""


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
            WeightsMissing: it is in neither.
            UserError: what is there is something else.
        """
        places = [Path(torch.hub.get_dir()) / "checkpoints" / self.file]
        if folder is not None:
            places.insert(0, Path(folder) / self.file)
        for path in places:
            if path.is_file():
                self._check(path)
                return path
        raise WeightsMissing(
            f"{self.metric} needs {self.file}, which is not in {' or '.join(str(path.parent) for path in places)}; "
            f"put it there from {self.url}"
        )

    def _check(self, path: Path) -> None:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not found.startswith(self.digest):
            raise UserError(
                f"weights={str(path)!r} are not those that {self.metric} is defined by (SHA-256 {found[:12]}…, "
                f"published {self.digest[:12]}…); replace them by {self.url}"
            )


ALEXNET = PublishedWeights(
    "LPIPS",
    "alexnet-owt-7be5be79.pth",
    "7be5be79",
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
)
RESNET18 = PublishedWeights(
    "SRC", "resnet18-f37072fd.pth", "f37072fd", "https://download.pytorch.org/models/resnet18-f37072fd.pth"
)
I3D = PublishedWeights(
    "FVD",
    "i3d_torchscript.pt",
    "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
    "https://huggingface.co/flateon/FVD-I3D-torchscript",
)
