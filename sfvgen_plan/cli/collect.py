"""``sfvgen-plan collect``: play training episodes and save them as a Minari dataset."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from sfvgen_plan.arguments import CheckpointAction, positive_int
from sfvgen_plan.console import Output, counted
from sfvgen_plan.data.sources import FIRST_TRAINING_SEED
from sfvgen_plan.errors import UserError

HELP = "play training episodes with scripted experts, disturbed experts and at random, into a Minari dataset"


def add_arguments(parser: ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--task", action="append", metavar="NAME", help="a task; may be given several times")
    which.add_argument("--suite", metavar="NAME", help="all tasks of a protocol, with its frames: metaworld-10, …")
    text = "play nothing: convert RLBench recordings, of one or several folders; or a LeRobot dataset, lerobot:DIR"
    parser.add_argument("--from", action="append", dest="source", metavar="DIR", help=text)
    parser.add_argument("--split", default="train", help="of the recorded episodes (default: train)")
    parser.add_argument("--agent", default="", help="who plays, as in eval (default: experts, or nobody)")
    parser.add_argument("--checkpoint", metavar="PATH", action=CheckpointAction, help="of the agent, and its frames")
    parser.add_argument("--out", type=Path, required=True, help="folder to make; <out>.partial while it goes on")
    parser.add_argument("--episodes", type=int, default=100, help="per task (default: 100)")
    text = f"of the first episode (default: {FIRST_TRAINING_SEED}, the lowest: those below are for evaluation)"
    parser.add_argument("--seed", type=int, default=FIRST_TRAINING_SEED, help=text)
    parser.add_argument("--workers", type=positive_int, help="processes (default: one per core)")
    parser.add_argument("--decisions", type=int, help="per episode, or most of them (default: the simulator's)")
    usual = "(default: the suite's, else the simulator's)"
    parser.add_argument("--size", type=int, help=f"of the frames, in pixels {usual}")
    parser.add_argument("--camera", help=f"that films {usual}")
    parser.add_argument("--repeat", type=int, help=f"raw steps per decision {usual}")


def run(args: Namespace) -> int:
    """Collect, or go on with a collection that was stopped."""
    from sfvgen_plan.benchmarks.running.collection import CollectionSettings, collect, kept

    out = Output.of(args)
    if args.source is not None:
        convert(args, out)
        report(args.out, (), out)
        return 0
    tasks, frames = chosen(args)
    if not tasks:
        raise UserError("task is missing; add --task NAME, --suite NAME, or --from DIR")
    who = {"agent": args.agent, "checkpoint": args.checkpoint}
    settings = CollectionSettings(tasks, args.episodes, seed=args.seed, **who, **frames)
    try:
        with out.progress("episodes", total=len(settings.plan)) as bar:
            collect(args.out, settings, args.workers, bar.advance)
    except (KeyboardInterrupt, SystemExit):
        out.note(f"stopped; {kept(args.out)}")
        raise
    report(args.out, tasks, out)
    return 0


def convert(args: Namespace, out: Output) -> None:
    """Turn recordings into a dataset. Raises UserError: what the converter refuses."""
    from sfvgen_plan.data import lerobot, rlbench

    with out.progress("episodes") as bar:
        if any(source.startswith(lerobot.PREFIX) for source in args.source):
            if len(args.source) > 1:
                raise UserError(f"from={', '.join(args.source)}: give one lerobot:DIR, or several folders of RLBench's")
            frames = {
                name: getattr(args, name) for name in ("camera", "size", "repeat") if getattr(args, name) is not None
            }
            folder = args.source[0].removeprefix(lerobot.PREFIX)
            lerobot.convert(folder, args.out, args.task, args.split, on_episode=bar.advance, **frames)
        else:
            tasks, camera = chosen(args)[0] or None, args.camera or rlbench.CAMERA
            rlbench.convert(args.source, args.out, tasks, args.split, camera, on_episode=bar.advance)


def chosen(args: Namespace) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The tasks that the options name, and camera, size, repeat and decisions: as the options say; else, but for the
    last, by the suite's protocol, so that a checkpoint trained on the data can be evaluated under it; else by the
    agent's checkpoint; else as usual for the simulator. Raises UserError: unknown suite or task."""
    from sfvgen_plan.benchmarks.protocols import load_protocol
    from sfvgen_plan.catalogue import frames_of
    from sfvgen_plan.envs.family import family_of

    protocol = load_protocol(args.suite) if args.suite else None
    tasks = protocol.tasks if protocol else tuple(dict.fromkeys(args.task or ()))
    if not tasks:
        return (), {}
    family = family_of(tasks[0])
    usual = {name: getattr(protocol or family, name) for name in ("camera", "size", "repeat")}
    if args.checkpoint and protocol is None:
        usual |= frames_of(Path(args.checkpoint))
    usual["decisions"] = family.decisions
    given = {name: getattr(args, name) for name in usual}
    return tasks, usual | {name: value for name, value in given.items() if value is not None}


def report(folder: Path, tasks: tuple[str, ...], out: Output) -> None:
    """Say what the dataset has."""
    from sfvgen_plan.data.episodes import read_metadata

    metadata = read_metadata(folder)
    names = list(tasks or metadata["collection"]["tasks"])
    episodes, decisions = metadata["total_episodes"], metadata["total_steps"]
    data = {"out": str(folder), "tasks": names, "episodes": episodes, "decisions": decisions}
    parts = counted(episodes, "episode"), counted(len(names), "task"), counted(decisions, "decision")
    out.result(data, "{} of {}, {}: {}".format(*parts, folder))
