"""``sfvgen-plan train-agent``: an agent learns in imagination alone, then acts in the real simulator and is scored.

With ``real=true`` it learns in the real simulator, for a comparison.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from sfvgen_plan.arguments import add_model_arguments, add_overrides, non_negative_int
from sfvgen_plan.errors import need_package

HELP = "train a Stable-Baselines3 agent in imagination, then play it in the real simulator"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--task", required=True, help="one task that the checkpoint lists, such as reach-v3")
    parser.add_argument("--algo", default="ppo", help="ppo or sac (default: ppo)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="new folder (default: runs/<algo>-<task>)")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="of the training (default: 0)")
    text = "real episodes afterwards, from seed 0 (default: %(default)s; 0: train only)"
    parser.add_argument("--episodes", type=non_negative_int, default=20, help=text)
    parser.add_argument("--data", type=Path, metavar="DIR", help="dataset whose states imagined episodes branch from")
    add_model_arguments(parser)
    add_overrides(parser, "algo")


def explain(args: Namespace) -> str:
    from sfvgen_plan.agents.algorithms import Learner

    return "\n".join(["settings", *Learner.explained(args.algo)])


def run(args: Namespace) -> int:
    """Train, save ``agent.zip`` and ``train.json``, and evaluate like ``eval --agent sb3:agent.zip``.

    The same command again takes an agent that is there as it is, and goes on with its real episodes.
    """
    from sfvgen_plan.agents.algorithms import Learner
    from sfvgen_plan.catalogue import check_covers
    from sfvgen_plan.console import Output
    from sfvgen_plan.envs.family import canonical
    from sfvgen_plan.settings import of_group

    own, others = of_group(args.overrides, "algo")
    learner = Learner.of(args.algo, others, own)
    settings = learner.settings
    task = canonical(args.task)
    check_covers(args.checkpoint, [task])
    need_package("stable_baselines3", "sb3")

    out = Output.of(args)
    with out.progress("loading"):
        from sfvgen_plan.agents.training import train
        from sfvgen_plan.benchmarks.results.store import Recorder
        from sfvgen_plan.benchmarks.running.contestant import Entry
        from sfvgen_plan.benchmarks.running.evaluation import Evaluation, play_and_store
        from sfvgen_plan.model.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(args.checkpoint, args.device)
    folder = args.out or Path("runs") / f"{args.algo}-{task}"
    with out.progress(f"{args.algo} {'plays' if settings.real else 'imagines'}", total=settings.decisions) as bar:
        given: dict[str, Any] = {"seed": args.seed, "progress": bar.tell, "data": args.data}
        file = train(folder, learner, task, checkpoint, **given)
    out.note(f"agent: {file}")
    if not args.episodes:
        out.result({"agent": str(file), "task": task, "checkpoint": checkpoint.hash}, f"agent written to {file}")
        return 0
    label = f"{args.algo}-{'real' if settings.real else 'imagined'}"
    model = {"checkpoint": args.checkpoint, "device": args.device}
    evaluation = Evaluation.of(Entry.of(f"sb3:{file}", name=label), task=task, episodes=args.episodes, **model)
    rows = play_and_store(evaluation, Recorder(file.parent / "real", evaluation.record), out)
    return 1 if all(row.error for row in rows) else 0
