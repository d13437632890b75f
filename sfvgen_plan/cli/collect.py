"""``sfvgen-plan collect``: play training episodes and save them as a Minari dataset."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from sfvgen_plan.data.seeds import FIRST_TRAINING_SEED

HELP = "play training episodes with scripted experts, disturbed experts and at random, into a Minari dataset"


def add_arguments(parser: ArgumentParser) -> None:
    """The options of the verb."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--task", action="append", metavar="NAME", help="a Metaworld task; may be given several times")
    which.add_argument("--suite", metavar="NAME", help="all tasks of a suite, such as metaworld-10")
    parser.add_argument("--out", type=Path, required=True, help="folder to make; <out>.partial while it goes on")
    parser.add_argument("--episodes", type=int, default=100, help="per task (default %(default)s)")
    parser.add_argument("--decisions", type=int, default=40, help="per episode (default %(default)s)")
    parser.add_argument(
        "--seed",
        type=int,
        default=FIRST_TRAINING_SEED,
        help="of the first episode (default %(default)s, the lowest: those below are for evaluation)",
    )
    parser.add_argument("--workers", type=int, default=None, help="processes (default one per core)")
    parser.add_argument("--size", type=int, default=128, help="of the frames, in pixels (default %(default)s)")
    parser.add_argument("--camera", default="corner4", help="(default %(default)s)")
    parser.add_argument("--repeat", type=int, default=5, help="raw steps per decision (default %(default)s)")


def run(args: Namespace) -> int:
    """Collect, or go on with a collection that was stopped."""
    from sfvgen_plan.agents.collection import STAGING_SUFFIX, collect
    from sfvgen_plan.cli.console import Output
    from sfvgen_plan.envs.tasks import SUITES
    from sfvgen_plan.errors import unknown_name

    out = Output.of(args)
    if args.suite is not None and args.suite not in SUITES:
        raise unknown_name("suite", args.suite, SUITES)
    tasks = SUITES[args.suite] if args.suite is not None else tuple(dict.fromkeys(args.task))
    total = len(tasks) * args.episodes
    done = 0
    try:
        with out.progress("episodes", total=total) as bar:

            def count() -> None:
                nonlocal done
                done += 1
                bar.advance()

            collect(
                args.out,
                tasks,
                args.episodes,
                args.decisions,
                args.seed,
                args.workers,
                args.size,
                args.camera,
                args.repeat,
                on_episode=count,
            )
    except (KeyboardInterrupt, SystemExit):
        partial = f"{args.out}{STAGING_SUFFIX}"
        out.note(f"stopped with {done} of {total} episodes kept in {partial}; the same command goes on from there")
        raise
    data = {"out": str(args.out), "tasks": list(tasks), "episodes": total, "decisions": total * args.decisions}
    out.result(data, f"{total} episodes of {len(tasks)} tasks, {total * args.decisions} decisions: {args.out}")
    return 0
