"""Measures speeds and stores them: a row takes the place of that of the same name and device.

Without ``--only`` everything is measured whose speed is that of the device.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sfvgen_plan.arguments import add_model_arguments, positive_int, run_script
from sfvgen_plan.benchmarks.results.files import Rows
from sfvgen_plan.benchmarks.speed.measurements import MEASUREMENTS, Bench, SpeedRow, machine
from sfvgen_plan.console import Output
from sfvgen_plan.devices import resolve_device
from sfvgen_plan.errors import unknown_name

COMMAND = "python -m sfvgen_plan.benchmarks.speed"


def run(args: argparse.Namespace) -> None:
    """Measure one thing after the other; each is stored as soon as it is known."""
    out = Output.of(args)
    for name in args.only:
        if name not in MEASUREMENTS:
            raise unknown_name("only", name, MEASUREMENTS)
    device = resolve_device(args.device)
    kind = device.partition(":")[0]
    wanted = args.only or [name for name, measurement in MEASUREMENTS.items() if measurement.on == kind]
    bench = Bench(args.checkpoint, device, args.seconds, args.sampler_steps, args.diamond, args.recipe)
    options = ["--checkpoint", Path(args.checkpoint).name] if args.checkpoint else []
    options += ["--sampler-steps", str(args.sampler_steps)] if args.sampler_steps != Bench.sampler_steps else []
    options += ["--recipe", args.recipe] if args.recipe != Bench.recipe else []
    options += ["--diamond", "DIAMOND"] if args.diamond else []
    rows: list[SpeedRow] = []
    with out.progress("measuring", total=len(wanted)) as bar:
        for name in sorted(wanted, key=list(MEASUREMENTS).index):
            bar.describe(name)
            measurement = MEASUREMENTS[name]
            if not measurement.possible(bench):
                out.note(f"{name} is left out: there is no such thing here")
                continue
            value, command = measurement.measure(bench), shlex.join(["--only", name, "--device", kind, *options])
            rows.append(SpeedRow(name, machine(device), f"{value:.4g}", measurement.unit, f"{COMMAND} {command}"))
            Rows(args.out, SpeedRow, ("name", "device")).add(rows[-1])
            bar.advance()
    lines = [f"{row.name:<20} {row.value:>9} {row.unit:<12} {row.device}" for row in rows]
    out.result([asdict(row) for row in rows], "\n".join(lines))
    out.note(f"rows: {args.out}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help=f"some of {', '.join(MEASUREMENTS)}")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/rows/speed.csv"), metavar="FILE.csv")
    add_model_arguments(parser)
    parser.add_argument("--sampler-steps", type=positive_int, default=Bench.sampler_steps, help="denoising steps")
    parser.add_argument("--recipe", default=Bench.recipe, help="whose training step is measured (default: default)")
    parser.add_argument("--diamond", type=Path, metavar="FOLDER", help="checkout of github.com/eloialonso/diamond")
    parser.add_argument("--seconds", type=float, default=Bench.seconds, help="of measuring each, at least")
    return run_script(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
