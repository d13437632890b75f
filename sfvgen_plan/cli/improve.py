"""``sfvgen-plan improve``: an agent plays in the real simulator, its model learns from that, and so on."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfvgen_plan.arguments import CheckpointAction, add_overrides, positive_int
from sfvgen_plan.console import Output, table
from sfvgen_plan.errors import UserError, need_package

if TYPE_CHECKING:
    from sfvgen_plan.benchmarks.protocols import Protocol
    from sfvgen_plan.benchmarks.rounds import AgentOfRound, RoundRow
    from sfvgen_plan.benchmarks.running.contestant import Contestant
    from sfvgen_plan.model.checkpoint import Checkpoint

HELP = "rounds of real play and training, from random play, demonstrations or a checkpoint"


def add_arguments(parser: ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--task", action="append", metavar="NAME", help="a task; may be given several times")
    what.add_argument("--suite", metavar="NAME", help="all tasks of a protocol, such as metaworld-10")
    parser.add_argument("--agent", default="default", help="who plays, as in eval (default: %(default)s)")
    parser.add_argument("--algo", help="instead: ppo or sac, trained in imagination in every round; one task")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run; goes on if killed")
    parser.add_argument("--data", type=Path, metavar="DIR", help="dataset to begin with")
    text = "to begin with (default: new networks)"
    parser.add_argument("--checkpoint", metavar="PATH", action=CheckpointAction, help=text)
    parser.add_argument("--label", help="what rows call the run (default: the suite or tasks)")
    parser.add_argument("--max-decisions", type=positive_int, help="limit of an episode (default: the protocol's)")
    parser.add_argument("--lanes", type=positive_int, help="real episodes side by side (default: by the machine)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    add_overrides(parser)


def explain(args: Namespace) -> str:
    from sfvgen_plan.agents.algorithms import Learner
    from sfvgen_plan.agents.registry import explain_settings
    from sfvgen_plan.benchmarks.rounds import RoundSettings
    from sfvgen_plan.settings import explained

    about = Learner.explained(args.algo, "imagine.") if args.algo else [explain_settings(args.agent)]
    recipes = "train=NAME and train.KEY=value change the training, see `sfvgen-plan train --help`"
    return "\n".join(["settings", *explained(RoundSettings), recipes, *about])


def run(args: Namespace) -> int:
    """Play and train; the same command again goes on where it was killed, and one with more rounds adds them."""
    from sfvgen_plan.benchmarks.rounds import Rounds, RoundSettings
    from sfvgen_plan.devices import resolve_device
    from sfvgen_plan.learning.recipe import Recipe, filled
    from sfvgen_plan.settings import changed, compose, configured

    groups: dict[str, list[str]] = {}
    for text in args.overrides:
        group = text.split("=")[0].split(".")[0]
        groups.setdefault(group if group in ("agent", "algo", "imagine", "train", "speedups") else "", []).append(text)
    recipe = [*groups.get("train", ()), *groups.get("speedups", ())]
    settings = configured(RoundSettings, groups.get("", ()))
    config = compose("train", recipe)
    for changes in ([], settings.going_on):
        filled(Recipe, changed(config, changes)["train"], "train")
    out, device = Output.of(args), resolve_device(args.device)
    protocol = checked_rules(args)
    name, agent = chosen_agent(args, groups, settings.noise, protocol.tasks, device, out)
    rounds = Rounds(
        folder=args.out, suite=args.label or args.suite or "+".join(args.task), protocol=protocol, agent=agent,
        settings=settings, recipe=recipe, config=config, data=args.data,
        checkpoint=Path(args.checkpoint) if args.checkpoint else None, device=device, lanes=args.lanes, out=out,
        facts={"agent": name, "max_decisions": protocol.max_decisions},
    )  # fmt: skip
    last = rounds.run()
    show(out, rounds.rows(), args.out, last)
    return 0


def show(out: Output, rows: Iterable[RoundRow], folder: Path, last: Path) -> None:
    """The rounds, and what they led to."""
    lines = []
    for row in rows:
        numbers = (row.success_real, row.success_imagined, row.success_imagined - row.success_real)
        rewards = (f"{row.reward_real:.3g}", f"{row.reward_imagined:.3g}")
        told = (*(f"{number:.2f}" for number in numbers), *rewards)
        lines.append((row.round, row.real_episodes, row.real_decisions, *told))
    columns = ("round", "learnt from", "decisions", "success", "imagined", "gap", "reward", "imagined")
    out.result({"checkpoint": str(last), "rounds": [vars(row) for row in rows]}, table(None, columns, lines))
    out.note(f"rows: {folder / 'improve.csv'}")
    out.note(f"last checkpoint, for eval: {last}")


def chosen_agent(
    args: Namespace, groups: Mapping[str, Sequence[str]], noise: float, tasks: Sequence[str], device: str, out: Output
) -> tuple[str, AgentOfRound]:
    """Its name with all that it depends on, and what makes it in every round. Raises UserError: an agent or algorithm
    that can't play this, or settings that it doesn't have."""
    from sfvgen_plan.benchmarks.running.contestant import Entry

    if not args.algo:
        for text in (*groups.get("algo", ()), *groups.get("imagine", ())):
            raise UserError(f"override {text!r} needs an algorithm; add --algo NAME, or leave it out")
        entry = Entry.of(args.agent, groups.get("agent", ()), noise=noise)
        entry.check_sees_frames()
        return entry.name, lambda checkpoint, *folders: entry.made(checkpoint, device, checkpoint.card.action_dim)

    from sfvgen_plan.agents.algorithms import Learner

    learner = Learner.of(args.algo, groups.get("imagine", ()), groups.get("algo", ()), "imagine")
    if len(tasks) > 1 or learner.settings.real or groups.get("agent"):
        raise UserError(
            f"algo={args.algo!r} learns one task in imagination; give one --task, no real= and no agent.key="
        )
    need_package("stable_baselines3", "sb3")

    def agent(checkpoint: Checkpoint, folder: Path, before: Path) -> Contestant:
        from sfvgen_plan.agents.training import AGENT_FILE, train

        data, last = (path if path.exists() else None for path in (before / "data", before / "agent" / AGENT_FILE))
        with out.progress(f"{args.algo} imagines", total=learner.settings.decisions) as bar:
            own: dict[str, Any] = {"progress": bar.tell, "data": data, "start": last}
            file = train(folder / "agent", learner, tasks[0], checkpoint, **own)
        return Entry.of(f"sb3:{file}", noise=noise).made(checkpoint, device, checkpoint.card.action_dim)

    return f"{args.algo} {dict(learner.numbers)} {asdict(learner.settings)}", agent


def checked_rules(args: Namespace) -> Protocol:
    """The rules of the real episodes. Raises UserError: unknown suite or task; data or a checkpoint of other tasks or
    frames."""
    from sfvgen_plan.benchmarks.fidelity.policies import rules
    from sfvgen_plan.benchmarks.rounds import LINGER
    from sfvgen_plan.catalogue import check_covers
    from sfvgen_plan.data.episodes import read_metadata

    made = rules(args.suite, args.task or (), args.max_decisions, 0, 1, args.checkpoint)
    protocol = replace(made, linger=LINGER)
    if args.data is not None:
        made = read_metadata(args.data)["collection"]
        for name in ("size", "camera", "repeat"):
            if made[name] != getattr(protocol, name):
                raise UserError(f"data={str(args.data)!r} has {name}={made[name]!r}, not {getattr(protocol, name)!r}")
        if missing := [task for task in protocol.tasks if task not in made["tasks"]]:
            raise UserError(f"data={str(args.data)!r} has no episodes of {', '.join(missing)}; collect them, too")
    elif args.checkpoint is not None:
        check_covers(args.checkpoint, protocol.tasks)
    return protocol
