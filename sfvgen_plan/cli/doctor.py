"""``sfvgen-plan doctor``: can this machine do the main job, and with what."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import fill

from sfvgen_plan.console import WIDTH
from sfvgen_plan.errors import MOST_LISTED, install_command

HELP = "check versions, graphics library, device and bundled checkpoint; exit 0 when `eval` can run, else 1"
REQUIRED = ("torch", "diffusers", "transformers", "peft", "gymnasium", "metaworld", "mujoco", "minari", "hydra-core")
OPTIONAL = {
    "stable-baselines3": "sb3", "gradio": "play", "ray": "ray", "pyarrow": "lerobot", "tensorboard": "log",
    "scenedetect-headless": "metrics",
}  # fmt: skip
"""Packages of the extras, and the extra that installs them."""


@dataclass(frozen=True)
class Check:
    """A part of the report. ``needed`` checks decide the exit code."""

    name: str
    ok: bool
    detail: str
    needed: bool = True

    def line(self) -> str:
        """As text: a check mark, a cross, or a dash for what is missing but not needed."""
        mark = "✓" if self.ok else "✗" if self.needed else "-"
        text = f"{mark} {self.name:<20} {self.detail}"
        return fill(text, WIDTH, subsequent_indent=" " * 23, break_long_words=False, break_on_hyphens=False)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--simulator", metavar="NAME", help="check only what it needs: metaworld, memory or rlbench")


def run(args: Namespace) -> int:
    """Print the report; 0 when every needed check holds, else 1."""
    from sfvgen_plan.console import Output
    from sfvgen_plan.envs.family import families, family, resolve

    out = Output.of(args)
    simulator = families()[0] if args.simulator is None else family(args.simulator)
    with out.progress("checking"):
        checks = [Check(*found) for found in resolve(simulator.examine)()] if simulator.examine else []
        if args.simulator is None:
            checks = [*check_packages(), *checks, attempt("device", device), check_checkpoint()]
    ready = all(check.ok for check in checks if check.needed)
    verdict = f"ready for {simulator.title}" if ready else "not ready: mend the lines marked ✗"
    data = {"ready": ready, "checks": [asdict(check) for check in checks]}
    out.result(data, "\n".join([*(check.line() for check in checks), verdict]))
    return 0 if ready else 1


def check_packages() -> list[Check]:
    """The installed version of every package that matters."""
    from importlib.metadata import PackageNotFoundError, version

    checks = []
    for name in (*REQUIRED, *OPTIONAL):
        needed = name in REQUIRED
        try:
            checks.append(Check(name, True, version(name), needed))
        except PackageNotFoundError:
            remedy = f"missing: pip install {name}" if needed else f"not installed: {install_command(OPTIONAL[name])}"
            checks.append(Check(name, False, remedy, needed))
    return checks


def device() -> str:
    """The GPU if torch sees one, else the CPU."""
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return f"cuda: {torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, {memory:.0f} GiB"
    return f"cpu: {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"


def check_checkpoint(folder: Path | None = None) -> Check:
    """The checkpoint that comes with the package, or the one in ``folder``: whether all of it can be loaded, and what
    the agent of `eval` makes of it."""

    def describe() -> str:
        from sfvgen_plan.model.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(folder)
        checkpoint.simulator()
        checkpoint.prior()
        size = sum(path.stat().st_size for path in checkpoint.path.rglob("*") if path.is_file()) / 1e6
        tasks = checkpoint.tasks
        named = f": {', '.join(tasks)}" if len(tasks) <= MOST_LISTED else ""
        return f"{checkpoint.path.name}, {size:.1f} MB, {len(tasks)} tasks{named}"

    return attempt("checkpoint", describe)


def attempt(name: str, describe: Callable[[], str]) -> Check:
    """A check that holds when ``describe`` raises nothing."""
    try:
        return Check(name, True, describe())
    except Exception as error:  # A doctor reports whatever is broken, in whatever way.
        return Check(name, False, " ".join(str(error).split()) or type(error).__name__)
