"""``sfvgen-plan collect``: play training episodes and save them as a Minari dataset."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sfvgen_plan.data.seeds import FIRST_TRAINING_SEED
from sfvgen_plan.errors import SimulatorError, UserError

if TYPE_CHECKING:
    from sfvgen_plan.console import Output

HELP = "play training episodes with scripted experts, disturbed experts and at random, into a Minari dataset"


def add_arguments(parser: ArgumentParser) -> None:
    """The options of the verb."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--task",
        action="append",
        metavar="NAME",
        help="a Metaworld task, rlbench/NAME or memory/NAME; may be given several times",
    )
    which.add_argument(
        "--suite",
        metavar="NAME",
        help="all tasks of a suite or protocol: metaworld-10, avdc11-v3, rlbench-data, memory …",
    )
    parser.add_argument(
        "--from", type=Path, dest="source", metavar="DIR", help="play nothing: convert recorded RLBench episodes"
    )
    parser.add_argument(
        "--split", choices=("train", "test"), default="train", help="of the recorded episodes (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to make; <out>.partial while it goes on")
    parser.add_argument("--episodes", type=int, default=100, help="per task (default %(default)s)")
    parser.add_argument(
        "--decisions",
        type=int,
        help="per episode (default 40); of RLBench and the memory tasks at most so many (default 50, or as long as the "
        "task is)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=FIRST_TRAINING_SEED,
        help="of the first episode (default %(default)s, the lowest: those below are for evaluation)",
    )
    parser.add_argument("--workers", type=int, default=None, help="processes (default one per core)")
    parser.add_argument("--size", type=int, help="of the frames, in pixels (default: the suite's, else 128)")
    parser.add_argument(
        "--camera", help="(default: the suite's, else corner4; front for RLBench; of the memory tasks each task's own)"
    )
    parser.add_argument(
        "--repeat", type=int, help="raw steps per decision (default: the suite's, else 5; RLBench's: as many as needed)"
    )


def run(args: Namespace) -> int:
    """Collect, or go on with a collection that was stopped."""
    from sfvgen_plan.agents.collection import collect, kept
    from sfvgen_plan.console import Output

    out = Output.of(args)
    tasks = chosen_tasks(args)
    if args.source is not None:
        return convert_recordings(args, tasks, out)
    if tasks is None:
        raise UserError("task is missing; add --task NAME, --suite NAME, or --from DIR")
    camera, size, repeat, decisions = chosen_frames(args, tasks)
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
                decisions,
                args.seed,
                args.workers,
                size,
                camera,
                repeat,
                on_episode=count,
            )
    except SimulatorError as error:
        raise UserError(f"the simulator keeps failing ({error}); {kept(done, total, args.out)}") from error
    except (KeyboardInterrupt, SystemExit):
        out.note(f"stopped; {kept(done, total, args.out)}")
        raise
    report(args, tasks, out)
    return 0


def chosen_tasks(args: Namespace) -> tuple[str, ...] | None:
    """The tasks that the options name, None if they name none.

    Raises:
        UserError: unknown suite.
    """
    from sfvgen_plan.benchmarks.protocols import load_protocol

    if args.suite is None:
        return tuple(dict.fromkeys(args.task)) if args.task else None
    return load_protocol(args.suite).tasks


def chosen_frames(args: Namespace, tasks: Sequence[str]) -> tuple[str, int, int, int]:
    """Camera, size, raw steps per decision, and decisions: as the options say; else, but for the last, by the suite's
    protocol, so that a checkpoint trained on the data can be evaluated under it; else as usual for the simulator."""
    from sfvgen_plan.benchmarks.protocols import load_protocol
    from sfvgen_plan.envs.family import family_of

    family = family_of(tasks[0])
    rules = family if args.suite is None else load_protocol(args.suite)
    return (
        args.camera or rules.camera,
        rules.size if args.size is None else args.size,
        rules.repeat if args.repeat is None else args.repeat,
        family.decisions if args.decisions is None else args.decisions,
    )


def convert_recordings(args: Namespace, tasks: tuple[str, ...] | None, out: Output) -> int:
    """Turn recorded RLBench episodes into a dataset."""
    from sfvgen_plan.data.rlbench import convert

    with out.progress("episodes") as bar:
        convert(args.source, args.out, tasks, args.split, args.camera or "front", on_episode=bar.advance)
    report(args, None, out)
    return 0


def report(args: Namespace, tasks: tuple[str, ...] | None, out: Output) -> None:
    """Say what the dataset has."""
    from sfvgen_plan.data.episodes import read_metadata

    metadata = read_metadata(args.out)
    names = list(tasks or metadata["collection"]["tasks"])
    episodes, decisions = metadata["total_episodes"], metadata["total_steps"]
    data = {"out": str(args.out), "tasks": names, "episodes": episodes, "decisions": decisions}
    out.result(data, f"{episodes} episodes of {len(names)} tasks, {decisions} decisions: {args.out}")
