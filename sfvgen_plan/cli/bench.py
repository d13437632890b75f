"""``sfvgen-plan bench memory``: what a checkpoint's memory is worth, row by row of the paper's ablation."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from sfvgen_plan.arguments import CheckpointAction, add_model_arguments, add_overrides, non_negative_int, positive_int
from sfvgen_plan.errors import UserError, unknown_name

HELP = "measure a checkpoint's memory on memory/revisit and memory/return"

SUBJECTS = ("memory",)
PARTS = ("revisit", "return")
EPISODES = 50
LANES_ON_GPU = 16


def add_arguments(parser: ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("subject", choices=SUBJECTS, help="what to measure")
    parser.add_argument(
        "--row", action="append", metavar="NAME", help="of the ablation, may be given several times (default: all)"
    )
    parser.add_argument("--part", choices=PARTS, help="the only table to make (default: both)")
    parser.add_argument("--episodes", type=positive_int, default=EPISODES, help="of each row (default: %(default)s)")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="seed of the first episode (default: 0)")
    add_model_arguments(parser, "the memory tasks")
    parser.add_argument(
        "--encoder",
        type=Path,
        metavar="DIR",
        help="video encoder, for cosine and Fréchet distance (default: the package's, if it has one)",
    )
    parser.add_argument("--weights", type=Path, metavar="DIR", help="published weights of LPIPS, SRC, FVD")
    parser.add_argument("--agent", default="default", help="who puts objects back (default: %(default)s)")
    parser.add_argument("--lanes", type=positive_int, help="episodes side by side (default: 1, on a GPU 16)")
    parser.add_argument("--videos", type=non_negative_int, default=1, help="episodes to film (default: 1)")
    parser.add_argument(
        "--without",
        action=CheckpointAction,
        metavar="DIR",
        help="checkpoint of the videos' picture without memory (default: the same)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/memory"), metavar="DIR", help="goes on there (default: %(default)s)"
    )
    add_overrides(parser, "agent")


def explain(args: Namespace) -> str:
    """The settings."""
    from sfvgen_plan.agents.registry import explain_settings
    from sfvgen_plan.benchmarks.running.side_by_side import Settings
    from sfvgen_plan.settings import explained

    return "\n".join(["settings", *explained(Settings), explain_settings(args.agent)])


def run(args: Namespace) -> int:
    """Measure what is missing and show the tables, also of what there is after Ctrl-C."""
    from sfvgen_plan.agents.registry import agent_settings
    from sfvgen_plan.benchmarks.running.side_by_side import Settings
    from sfvgen_plan.console import Output
    from sfvgen_plan.devices import resolve_device
    from sfvgen_plan.envs.rendering import gl_backend
    from sfvgen_plan.memory.rows import ROWS
    from sfvgen_plan.settings import configured, of_group

    rows = list(dict.fromkeys(args.row or ROWS))
    for row in rows:
        if row not in ROWS:
            raise unknown_name("row", row, ROWS)
    agent, own = of_group(args.overrides, "agent")
    imagining = configured(Settings, own)
    if args.part == "revisit" and agent:
        raise UserError(f"override {agent[0]!r} is a setting of the agent of memory/return; leave --part revisit out")
    if args.part == "return" and args.without:
        raise UserError(f"without={args.without!r} is for the videos of memory/revisit; leave --part return out")
    settings, label = agent_settings(args.agent, agent)
    gl_backend()

    # With torch, which takes its time: everything that the options alone tell is said before.
    from sfvgen_plan.benchmarks.memory.bench import ReturnBench, RevisitBench
    from sfvgen_plan.benchmarks.memory.revisit import check_episodes
    from sfvgen_plan.benchmarks.memory.study import study
    from sfvgen_plan.metrics import encoder
    from sfvgen_plan.metrics.toolbox import Toolbox
    from sfvgen_plan.model.checkpoint import load_checkpoint

    episodes = range(args.seed, args.seed + args.episodes)
    check_episodes(episodes)
    out, device = Output.of(args), resolve_device(args.device)
    checkpoint = load_checkpoint(args.checkpoint, device)
    bundled = encoder.BUNDLED if encoder.BUNDLED.is_dir() else None
    toolbox = Toolbox.open(checkpoint.size, args.encoder or bundled, args.weights, device)
    lanes = args.lanes or (1 if device == "cpu" else LANES_ON_GPU)
    revisit = returned = None
    if args.part != "revisit":
        returned = ReturnBench(checkpoint, args.out, args.agent, settings, label, lanes)
    if args.part != "return":
        without = load_checkpoint(args.without, device) if args.without else None
        steps, chunk = imagining.sampler_steps, imagining.chunk
        revisit = RevisitBench(checkpoint, args.out, toolbox, steps, chunk, lanes, without)
    study(out, revisit, returned, rows, episodes, args.videos)
    return 0
