"""``sfvgen-plan eval``: an agent acts in the real environment, and is scored."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from sfvgen_plan.agents.registry import agent_names
from sfvgen_plan.arguments import add_model_arguments, add_overrides, non_negative_int, positive_int
from sfvgen_plan.errors import UserError

HELP = "play a task or a suite with an agent; exit 1 when every episode broke off"
SETTINGS = ""  # none but the agent's


def add_arguments(parser: ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--task", help="one task, such as reach-v3 or memory/return")
    what.add_argument("--suite", help="all tasks of a protocol, such as metaworld-10")
    text = f"{', '.join(agent_names())}, sb3:path.zip, or module:factory (default: %(default)s)"
    parser.add_argument("--agent", default="default", help=text)
    parser.add_argument("--label", help="the agent's name in rows (default: the agent and its changed settings)")
    parser.add_argument("--episodes", type=positive_int, help="of each task (default: 5, of a suite its protocol's)")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="of the first episode (default: 0)")
    parser.add_argument("--max-decisions", type=positive_int, help="limit of an episode (default: the protocol's)")
    add_model_arguments(parser)
    parser.add_argument("--lanes", type=positive_int, help="episodes side by side (default: as the machine allows)")
    text = "play on Ray: host:port of a cluster, or local; one agent here decides for all"
    parser.add_argument("--ray", metavar="ADDRESS", help=text)
    where = parser.add_mutually_exclusive_group()
    text = "of the run, which goes on there (default: a new one in runs/)"
    where.add_argument("--out", type=Path, metavar="FOLDER", help=text)
    text = "a store for many agents; only what is missing there is played"
    where.add_argument("--store", type=Path, metavar="FILE", help=text)
    text = "film the first episode of each task, beside it what was imagined of its actions"
    parser.add_argument("--video", type=Path, metavar="FILE.mp4|.webp", help=text)
    add_overrides(parser, "agent")


def run(args: Namespace) -> int:
    """Play, store each episode's row as it ends, and show the table; what was finished also after Ctrl-C."""
    from sfvgen_plan.benchmarks.results.store import STORES, Recorder
    from sfvgen_plan.benchmarks.running.contestant import Entry
    from sfvgen_plan.benchmarks.running.evaluation import Evaluation, play_and_store
    from sfvgen_plan.console import Output
    from sfvgen_plan.video import check_video_path

    if args.video:
        check_video_path(args.video)
    evaluation = Evaluation.of(
        Entry.of(args.agent, args.overrides, args.label), task=args.task, suite=args.suite, episodes=args.episodes,
        seed=args.seed, max_decisions=args.max_decisions, checkpoint=args.checkpoint, device=args.device,
    )  # fmt: skip
    if args.store and args.store.suffix not in STORES:
        raise UserError(f"store={str(args.store)!r} should end in {' or '.join(STORES)}; for a folder give --out")
    recorder = Recorder(args.store or args.out or evaluation.new_folder(), evaluation.record)
    out = Output.of(args)
    rows = play_and_store(evaluation, recorder, out, args.lanes, args.ray, args.video)
    return 1 if all(row.error for row in rows) else 0
