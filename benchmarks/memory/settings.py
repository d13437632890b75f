"""Which memory remembers best? ``python -m sfvgen_plan.benchmarks.memory.settings`` tries settings of fast learning.

Episodes of ``memory/revisit`` are imagined as ``sfvgen-plan bench memory`` does, by default such as are no part of the
protocol: settings may be chosen by them. What is there already is not measured again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sfvgen_plan.arguments import add_model_arguments, non_negative_int, positive_int, run_script
from sfvgen_plan.benchmarks.memory.cost import WITHOUT, add_memory_argument, parse_memory
from sfvgen_plan.benchmarks.results.files import merge_measurements, read_measurements
from sfvgen_plan.benchmarks.statistics import paired_difference
from sfvgen_plan.console import Output
from sfvgen_plan.devices import resolve_device

COMMAND = "python -m sfvgen_plan.benchmarks.memory.settings"
FIRST_SEED = 1000
"""Beyond the episodes of the protocol."""


@dataclass(frozen=True)
class Row:
    """One episode imagined with one memory.

    Attributes:
        checkpoint: hash of who imagined.
        sampler_steps: denoising steps of a chunk.
        memory: a row of the ablation, with changed settings behind it.
        episode: its seed.
        psnr_revisit_db, self_psnr_db, hand_error_cm: see ``memory_revisit.RevisitScores``.
    """

    checkpoint: str
    sampler_steps: str
    memory: str
    episode: str
    psnr_revisit_db: str
    self_psnr_db: str
    hand_error_cm: str


def run(args: argparse.Namespace) -> None:
    """Measure memory by memory; each is stored as soon as it is known."""
    from sfvgen_plan.benchmarks.memory import revisit as memory_revisit
    from sfvgen_plan.benchmarks.memory.bench import check_episodes
    from sfvgen_plan.envs.rendering import gl_backend
    from sfvgen_plan.metrics.toolbox import Toolbox
    from sfvgen_plan.model.checkpoint import load_checkpoint

    out = Output.of(args)
    memories = {name: parse_memory(name) for name in dict.fromkeys([WITHOUT, *args.memory])}
    seeds = range(args.seed, args.seed + args.episodes)
    check_episodes(seeds)
    gl_backend()
    checkpoint = load_checkpoint(args.checkpoint, resolve_device(args.device))
    same = (checkpoint.hash, str(args.sampler_steps))
    known = {
        (row.memory, row.episode): row
        for row in read_measurements(args.out, Row)
        if (row.checkpoint, row.sampler_steps) == same
    }
    lacking = [name for name in memories if any((name, str(seed)) not in known for seed in seeds)]
    env = memory_revisit.revisit_env(checkpoint)
    try:
        away = memory_revisit.away_of(memory_revisit.CHUNK)
        episodes = [memory_revisit.true_episode(env, seed, away) for seed in seeds] if lacking else []
    finally:
        env.close()
    toolbox = Toolbox()
    with out.progress("memories", total=len(lacking)) as bar:
        for name in lacking:
            bar.describe(name)
            dreams = memory_revisit.imagine_all(checkpoint.simulator(args.sampler_steps, memories[name]), episodes)
            for episode, dream in zip(episodes, dreams, strict=True):
                found = memory_revisit.score(episode, dream, toolbox)
                numbers = (f"{v:.5g}" for v in (found.psnr_revisit_db, found.self_psnr_db, found.hand_error_cm))
                known[name, str(episode.seed)] = Row(*same, name, str(episode.seed), *numbers)
            merge_measurements(args.out, Row, KEY, [known[name, str(seed)] for seed in seeds])
            bar.advance()
    lines = summary([known[name, str(seed)] for name in memories for seed in seeds])
    out.result(lines, "\n".join(said(line) for line in lines))
    out.note(f"rows: {args.out}")


KEY = ("checkpoint", "sampler_steps", "memory", "episode")


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Of every memory: means, and its gain in dB over none on the same episodes; the best first."""

    def column(name: str, which: str) -> dict[tuple[str, Hashable], float]:
        return {("", row.episode): float(getattr(row, which)) for row in rows if row.memory == name}

    lines = []
    for name in dict.fromkeys(row.memory for row in rows):
        line: dict[str, Any] = {"memory": name}
        for which in ("psnr_revisit_db", "self_psnr_db", "hand_error_cm"):
            values = list(column(name, which).values())
            line[which] = sum(values) / len(values)
        gain = paired_difference(column(name, "psnr_revisit_db"), column(WITHOUT, "psnr_revisit_db"))
        lines.append({**line, "gain_db": asdict(gain)})
    return sorted(lines, key=lambda line: -line["psnr_revisit_db"])


def said(line: dict[str, Any]) -> str:
    """For a terminal."""
    gain = line["gain_db"]
    return (
        f"{line['memory']:<60} {line['psnr_revisit_db']:6.2f} dB on revisits, "
        f"gain {gain['mean']:+.2f} [{gain['low']:+.2f}, {gain['high']:+.2f}], "
        f"to itself {line['self_psnr_db']:6.2f} dB, hand {line['hand_error_cm']:5.2f} cm"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").split("\n")[0])
    add_memory_argument(parser)
    parser.add_argument("--episodes", type=positive_int, default=16, help="side by side (default: 16)")
    parser.add_argument(
        "--seed", type=non_negative_int, default=FIRST_SEED, help="of the first episode (default: %(default)s)"
    )
    parser.add_argument("--sampler-steps", type=positive_int, default=3, help="denoising steps of a chunk (default: 3)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/rows/memory_settings.csv"), metavar="FILE.csv")
    add_model_arguments(parser, "the memory tasks")
    return run_script(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
