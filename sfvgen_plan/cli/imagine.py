"""``sfvgen-plan imagine``: the same actions in the real environment and in the imagination, side by side."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from sfvgen_plan.arguments import add_model_arguments, add_overrides, non_negative_int, positive_int

HELP = "act in the real environment, imagine the same actions open loop, write both as a video"
SETTINGS = "sfvgen_plan.benchmarks.running.side_by_side:Imagining"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--task", required=True, help="a task of the checkpoint, such as reach-v3 or memory/return")
    text = "who acts in the real environment (default: expert, or random where there is none)"
    parser.add_argument("--agent", help=text)
    parser.add_argument("--decisions", type=positive_int, default=35, help="how many (default: 35)")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="scene, and random state of the imagination")
    add_model_arguments(parser)
    parser.add_argument(
        "--out", type=Path, default="imagine.mp4", metavar="FILE.mp4|.webp", help="default: %(default)s"
    )
    add_overrides(parser, "agent")


def run(args: Namespace) -> int:
    """Act, imagine, compare, write."""
    from sfvgen_plan.benchmarks.running import side_by_side
    from sfvgen_plan.benchmarks.running.contestant import Entry
    from sfvgen_plan.benchmarks.running.evaluation import Evaluation
    from sfvgen_plan.catalogue import check_covers
    from sfvgen_plan.console import Output, table
    from sfvgen_plan.envs.family import family_of
    from sfvgen_plan.settings import configured, of_group
    from sfvgen_plan.video import check_video_path, write_video

    out = Output.of(args)
    agent, own = of_group(args.overrides, "agent")
    settings = configured(side_by_side.Imagining, own)
    who = args.agent or ("expert" if family_of(args.task).expert else "random")
    evaluation = Evaluation.of(Entry.of(who, agent), task=args.task, episodes=1, seed=args.seed)
    (task,) = evaluation.tasks
    check_video_path(args.out, "out")
    check_covers(args.checkpoint, [task])

    with out.progress("loading"):
        from sfvgen_plan.model.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(args.checkpoint, args.device)
    with out.progress(f"{args.decisions} decisions of {task}") as bar:
        bar.describe("real")
        recording = evaluation.recording(checkpoint, args.decisions)
        bar.describe("imagined")
        seen = side_by_side.imagined(recording, checkpoint.simulator(settings.sampler_steps))
        scores = side_by_side.quality(recording.frames, seen)
        bar.describe("video")
        write_video(args.out, side_by_side.pictures(recording, seen))
    data = {"task": task, "seed": args.seed, "checkpoint": checkpoint.hash, "video": str(args.out), "spans": scores}
    lines = [
        (f"{s['first_decision']:.0f}-{s['last_decision']:.0f}", f"{s['psnr_db']:.1f}", f"{s['copy_psnr_db']:.1f}")
        for s in scores
    ]
    out.result(data, table(f"{task} · imagined open loop", ["decisions", "PSNR dB", "of the start frame"], lines))
    out.note(f"video: {args.out}")
    return 0
