"""``sfvgen-plan bench memory``: what checkpoints' memories are worth, and what they cost."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from sfvgen_plan.arguments import add_overrides, non_negative_int, positive_int
from sfvgen_plan.errors import UserError
from sfvgen_plan.io import atomic

if TYPE_CHECKING:
    from sfvgen_plan.benchmarks.running.contestant import Entry

HELP = "measure checkpoints' memories on the memory tasks"
SETTINGS = "sfvgen_plan.benchmarks.running.side_by_side:Imagining"
PARTS = ("revisit", "return", "cue", "cost")
STUDIES = ("drift", "ablation")
BY_AGENT = ("return", "cue")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("subject", choices=["memory"], help="what to measure")
    text = "of the memory tasks: its folder or name; may be given twice, for two kinds of memory"
    parser.add_argument("--checkpoint", action="append", required=True, metavar="PATH", help=text)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    text = f"the only table to make (default: all but {' and '.join(STUDIES)})"
    parser.add_argument("--part", choices=(*PARTS, *STUDIES), help=text)
    parser.add_argument("--no-loop", metavar="PATH", help="for ablation: trained with train.video.learning.loop=false")
    parser.add_argument("--episodes", type=positive_int, default=50, help="of each row (default: %(default)s)")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="seed of the first episode (default: 0)")
    parser.add_argument("--agent", default="default", help="who plays return and cue (default: %(default)s)")
    parser.add_argument("--label", help="the agent's name in rows (default: with its settings)")
    parser.add_argument("--lanes", type=positive_int, help="episodes side by side (default: 1, on a GPU 16)")
    parser.add_argument(
        "--out", type=Path, default="runs/memory", metavar="DIR", help="goes on there (default: %(default)s)"
    )
    text = "only draw places of the first episode that come back: as shown, imagined with memory, without, and true"
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help=text)
    add_overrides(parser, "agent")


def _checked(args: Namespace) -> tuple[list[Path], Path | None, Entry, int, range]:
    """Folders of the checkpoints and of that for ``no_loop``, the agent, sampler steps, episodes. Imports no torch, so
    that bad options are told at once. Raises UserError: options that don't fit."""
    from sfvgen_plan.benchmarks.running.contestant import Entry
    from sfvgen_plan.benchmarks.running.side_by_side import Imagining
    from sfvgen_plan.catalogue import check_covers, find_checkpoint
    from sfvgen_plan.data.sources import FIRST_TRAINING_SEED
    from sfvgen_plan.settings import configured, of_group

    folders = [find_checkpoint(name, "checkpoint") for name in args.checkpoint]
    untaught = find_checkpoint(args.no_loop, "no-loop") if args.no_loop else None
    if untaught and args.part != "ablation":
        raise UserError(f"no-loop={args.no_loop!r} is for --part ablation; add that, or leave it out")
    agent, own = of_group(args.overrides, "agent")
    sampler_steps, entry = configured(Imagining, own).sampler_steps, Entry.of(args.agent, agent, args.label)
    if agent and args.part not in (None, *BY_AGENT):
        raise UserError(f"override {agent[0]!r} is a setting of the agent; leave --part {args.part} out")
    episodes = range(args.seed, args.seed + args.episodes)
    if episodes.stop > FIRST_TRAINING_SEED:
        raise UserError(f"seed={args.seed} with episodes={args.episodes} reaches training data; use lower seeds")
    parts = [args.part] if args.part else PARTS
    for folder in folders:
        check_covers(folder, [f"memory/{part if part in BY_AGENT else 'revisit'}" for part in parts if part != "cost"])
    return folders, untaught, entry, sampler_steps, episodes


def run(args: Namespace) -> int:
    """Measure what is missing and show the tables, also of what there is after Ctrl-C."""
    from sfvgen_plan.envs.rendering import gl_backend

    folders, untaught, entry, sampler_steps, episodes = _checked(args)
    gl_backend()

    from rich.console import Group

    from sfvgen_plan.console import Output, table

    out = Output.of(args)
    with out.progress("loading"):
        from sfvgen_plan.benchmarks.memory.bench import Pace, ablations, costs, played, revisits
        from sfvgen_plan.benchmarks.memory.parts import subjects_of
        from sfvgen_plan.benchmarks.memory.revisit import drawn
        from sfvgen_plan.benchmarks.memory.tables import comparisons, data, tables
        from sfvgen_plan.model.checkpoint import load_checkpoint

        subjects = subjects_of([load_checkpoint(folder, args.device) for folder in folders])
    if args.picture:
        from PIL import Image

        with atomic(args.picture, "picture") as staged:
            picture = Image.fromarray(drawn(subjects[0].checkpoint, args.seed)).quantize(256)
            picture.save(staged, format="png", optimize=True)
        out.note(f"picture: {args.picture}")
        return 0
    on_cpu = subjects[0].checkpoint.pipeline.device.type == "cpu"
    pace = Pace(args.out, episodes, sampler_steps, args.lanes or (1 if on_cpu else 16))
    work = []
    for part in [args.part] if args.part else PARTS:
        if part in BY_AGENT:
            work.append(played(subjects, pace, part, entry))
        elif part == "ablation":
            other = load_checkpoint(untaught, args.device) if untaught else None
            taught = next((subject for subject in subjects if subject.row == "temp_lora"), subjects[0]).checkpoint
            work.append(revisits(ablations(taught, other, pace), pace))
        elif part != "cost":
            work.append(revisits(subjects, pace, part))
    try:
        with out.progress("episodes") as bar:
            for row, episode in chain.from_iterable(work):
                bar.describe(f"{row} seed {episode}")
                bar.advance()
        if args.part in (None, "cost"):
            with out.progress("cost"):
                costs(subjects, args.out)
    finally:
        if made := tables(args.out):
            out.result(data(args.out), Group(*(table(*of) for of in made), *comparisons(args.out)))
            out.note(f"rows: {args.out}")
    return 0
