"""``sfvgen-plan fidelity``: does the learned simulator rank policies as the real one does?"""

from __future__ import annotations

import dataclasses
import json
import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sfvgen_plan.arguments import add_model_arguments, non_negative_int, positive_int
from sfvgen_plan.errors import UserError, unknown_name

if TYPE_CHECKING:
    from sfvgen_plan.agents.base import BatchAgent
    from sfvgen_plan.benchmarks.fidelity.compare import Policy
    from sfvgen_plan.benchmarks.fidelity.rows import FidelityRun
    from sfvgen_plan.benchmarks.protocols import Protocol
    from sfvgen_plan.console import Output
    from sfvgen_plan.model.checkpoint import Checkpoint

HELP = "score policies in the real and in the learned simulator from the same starts, and compare the scores"

POLICIES = (
    "prior",
    "prior+noise=0.5",
    "prior+noise=1",
    "prior+random=0.5",
    "prior10",
    "readout",
    "readout+noise=1",
    "random",
    "cem+candidates=16+elites=4+iterations=2",
    "default+candidates=8+confirm=2",
    "default10+candidates=8+confirm=2",
)
PROBES = ("still", "corner", "flip")
EPISODES = 5
MAX_DECISIONS = 50
BLOCKS = {"cpu": 8, "other": 64}
"""Episodes that are imagined side by side and stored together."""

DISTURBANCES = ("noise", "random")
_CHANGE = re.compile(r"\+([A-Za-z_][\w.]*)=([^+]*)$")


def add_arguments(parser: ArgumentParser) -> None:
    """Options of the verb."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--suite", default="metaworld-10", help="all tasks of a protocol (default: metaworld-10)")
    what.add_argument(
        "--task", action="append", help="one task of Metaworld, such as reach-v3; may be given several times"
    )
    parser.add_argument(
        "--policies",
        nargs="+",
        default=list(POLICIES),
        metavar="AGENT",
        help="agents as in eval, with +key=value for a setting, +noise=S for Gaussian noise on their actions, "
        "+random=P for random actions with that probability (default: eleven of different strength)",
    )
    parser.add_argument(
        "--probes", nargs="*", default=list(PROBES), help=f"unusual actions (default: {' '.join(PROBES)})"
    )
    parser.add_argument(
        "--episodes", type=positive_int, default=EPISODES, help=f"per task and policy (default: {EPISODES})"
    )
    parser.add_argument("--seed", type=non_negative_int, default=0, help="seed of the first episode (default: 0)")
    parser.add_argument(
        "--max-decisions", type=positive_int, default=MAX_DECISIONS, help=f"limit (default: {MAX_DECISIONS})"
    )
    parser.add_argument(
        "--threshold", type=_probability, default=0.5, help="success probability above which a decision succeeds"
    )
    parser.add_argument("--sampler-steps", type=positive_int, default=3, help="denoising steps of a decision")
    add_model_arguments(parser)
    parser.add_argument(
        "--lanes", type=positive_int, help="real episodes side by side (default: as the machine allows)"
    )
    parser.add_argument("--block", type=positive_int, help="episodes imagined side by side (default: 8, on a GPU 64)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: runs/fidelity-<checkpoint>; goes on there")


def run(args: Namespace) -> int:
    """Play what is missing and report, also of what there is after Ctrl-C."""
    from sfvgen_plan.benchmarks.contestants import checkpoint_for
    from sfvgen_plan.benchmarks.fidelity.rows import FidelityRun
    from sfvgen_plan.console import Output
    from sfvgen_plan.devices import cpu_cores, resolve_device
    from sfvgen_plan.envs.rendering import gl_backend

    out = Output.of(args)
    protocol, tasks = choose_protocol(args)
    names = check_names(args)
    gl_backend()
    device = resolve_device(args.device)
    checkpoint = checkpoint_for(protocol, tasks, args.checkpoint, device)
    policies = make_policies(names, args.probes, checkpoint, device)
    record = {
        "checkpoint": checkpoint.hash,
        "protocol": args.suite if not args.task else protocol.id,
        "rules": dataclasses.replace(protocol, first_seed=0, episodes=1, tasks=()).hash,
        "max_decisions": args.max_decisions,
        "threshold": args.threshold,
        "sampler_steps": args.sampler_steps,
    }
    run = FidelityRun(args.out or Path("runs") / f"fidelity-{checkpoint.hash}", record)
    kind = "cpu" if device == "cpu" else "other"
    lanes = args.lanes or (1 if kind == "cpu" else min(64, 4 * cpu_cores()))
    finished = False
    try:
        play(out, policies, protocol, tasks, checkpoint, run, args, lanes, args.block or BLOCKS[kind])
        finished = True
    finally:
        if run.rows:
            report(out, run, policies, protocol, tasks, record, finished)
    return 0


def choose_protocol(args: Namespace) -> tuple[Protocol, list[str]]:
    """The rules and tasks that the options ask for; episodes end with their first success.

    Raises:
        UserError: unknown task or suite, tasks of several protocols, or seeds that belong to training data.
    """
    from sfvgen_plan.benchmarks.protocols import load_protocol, protocol_for_task
    from sfvgen_plan.envs.simulators import metaworld_task

    if args.task:
        tasks = list(dict.fromkeys(metaworld_task(task, "fidelity") for task in args.task))
        protocol = protocol_for_task(tasks[0])
        for task in tasks:
            if task not in protocol.tasks:
                raise UserError(
                    f"task={task!r} is not in protocol {protocol.id!r} of {tasks[0]!r}; give it a run apart"
                )
    else:
        protocol = load_protocol(args.suite)
        tasks = list(protocol.tasks)
    changed = protocol.variant(max_decisions=args.max_decisions, first_seed=args.seed, episodes=args.episodes)
    return dataclasses.replace(changed, id=protocol.id, linger=0), tasks


@dataclass(frozen=True)
class Named:
    """What ``AGENT+key=value`` names, checked without a checkpoint.

    Attributes:
        name: as it was given.
        agent: the agent's own name.
        settings: its settings, changed.
        disturbance: what is done to its actions, by the names of ``DISTURBANCES``.
    """

    name: str
    agent: str
    settings: dict[str, Any]
    disturbance: dict[str, float]


def check_names(args: Namespace) -> list[Named]:
    """The policies that the options name. Imports no torch, so that a mistyped name is told at once.

    Raises:
        UserError: an unknown or unfair policy or probe, an unknown setting, or the same twice.
    """
    from sfvgen_plan.agents.probes import PROBES as KNOWN

    names = [*args.policies, *args.probes]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"policies: {name!r} is named twice; give it once")
        if name in KNOWN and name in args.policies:
            raise UserError(f"policies: {name!r} is a probe; give it with --probes")
    for name in args.probes:
        if name not in KNOWN:
            raise unknown_name("probe", name, KNOWN)
    return [check_name(name) for name in args.policies]


def check_name(name: str) -> Named:
    """The policy that ``AGENT+key=value`` names.

    Raises:
        UserError: unknown agent or setting, or an agent that needs the real environment.
    """
    from sfvgen_plan.agents.registry import GROUP, acts_on_env, agent_settings

    agent, changes = parse_policy(name)
    if acts_on_env(agent):
        raise UserError(
            f"policies: {agent!r} acts on the true state, which imagination doesn't have; give readout, the scripted "
            "policies on what the checkpoint reads out of frames"
        )
    disturbance = {key: _number(name, changes.pop(key)) for key in DISTURBANCES if key in changes}
    settings, _ = agent_settings(agent, [f"{GROUP}.{key}={value}" for key, value in changes.items()])
    return Named(name, agent, settings, disturbance)


def make_policies(names: Sequence[Named], probes: Sequence[str], checkpoint: Checkpoint, device: str) -> list[Policy]:
    """The policies and probes.

    Raises:
        UserError: one that can't be played with the checkpoint, or a number that makes no sense.
    """
    from sfvgen_plan.agents.probes import ProbeAgent
    from sfvgen_plan.benchmarks.fidelity.compare import Policy

    found = [make_policy(named, checkpoint, device) for named in names]
    return found + [Policy(name, ProbeAgent(name, checkpoint.card.action_dim), "probe") for name in probes]


def make_policy(named: Named, checkpoint: Checkpoint, device: str) -> Policy:
    """The policy of that name.

    Raises:
        UserError: see ``make_policies``.
    """
    from sfvgen_plan.agents.adapters import kind_of
    from sfvgen_plan.agents.disturbed import DisturbedAgent
    from sfvgen_plan.agents.planning import PlanningAgent
    from sfvgen_plan.agents.registry import make_agent
    from sfvgen_plan.benchmarks.fidelity.compare import Policy

    made = make_agent(named.agent, checkpoint, device, 0, named.settings)
    if kind_of(made) != "batch":
        raise UserError(f"policies: {named.agent!r} acts on the environment; give an agent that acts on frames")
    playing = cast("BatchAgent", made)
    kind = "planner" if isinstance(playing, PlanningAgent) else "policy"
    return Policy(named.name, DisturbedAgent(playing, **named.disturbance) if named.disturbance else playing, kind)


def parse_policy(name: str) -> tuple[str, dict[str, str]]:
    """``AGENT+key=value+key=value`` as the agent's name and what is changed."""
    changes: dict[str, str] = {}
    while found := _CHANGE.search(name):
        changes.setdefault(found[1], found[2])
        name = name[: found.start()]
    return name, dict(reversed(changes.items()))


def play(
    out: Output,
    policies: Sequence[Policy],
    protocol: Protocol,
    tasks: Sequence[str],
    checkpoint: Checkpoint,
    run: FidelityRun,
    args: Namespace,
    lanes: int,
    block: int,
) -> None:
    """All episodes that the run doesn't have yet, block by block."""
    from sfvgen_plan.benchmarks.fidelity.compare import compare
    from sfvgen_plan.benchmarks.running.episodes import Job

    simulator = checkpoint.simulator(args.sampler_steps, anchor_every=None)
    episodes = [(task, seed) for task in tasks for seed in protocol.seeds]
    missing = [(policy, run.missing(policy.name, episodes)) for policy in policies]
    left = sum(len(found) for _, found in missing)
    if left < len(policies) * len(episodes):
        out.note(
            f"{len(policies) * len(episodes) - left} of {len(policies) * len(episodes)} episodes are there already"
        )
    with out.progress("episodes", total=left) as bar:
        for policy, found in missing:
            bar.describe(policy.name)
            for start in range(0, len(found), block):
                jobs = [Job(task, seed) for task, seed in found[start : start + block]]
                run.add(*compare(policy, jobs, protocol, simulator, args.threshold, lanes))
                bar.advance(len(jobs))


def report(
    out: Output,
    run: FidelityRun,
    policies: Sequence[Policy],
    protocol: Protocol,
    tasks: Sequence[str],
    record: dict[str, Any],
    finished: bool,
) -> None:
    """Write the summary and its pictures, and show it. Rows of other policies, tasks or seeds in the folder are left
    out."""
    from rich.markdown import Markdown

    from sfvgen_plan.benchmarks.fidelity.page import page
    from sfvgen_plan.benchmarks.fidelity.plots import drift, scatter
    from sfvgen_plan.benchmarks.fidelity.summary import summarise
    from sfvgen_plan.benchmarks.results.files import write_text

    wanted = {(policy.name, task, seed) for policy in policies for task in tasks for seed in protocol.seeds}
    rows = [row for row in run.rows if row.key in wanted]
    try:
        summary = summarise(rows, [moment for moment in run.moments if moment.key in wanted])
    except ValueError as error:
        out.note(f"no summary yet: {error}; rows: {run.folder}")
        return
    text = page(summary, {**record, "finished": finished})
    document = {**record, "finished": finished, **summary}
    write_text(run.folder / "fidelity.json", json.dumps(document, indent=1, allow_nan=False) + "\n")
    pictures = "\n![imagined over real success](scatter.svg)\n\n![drift](drift.svg)\n"
    write_text(run.folder / "fidelity.md", text + pictures)
    write_text(run.folder / "scatter.svg", scatter(summary))
    write_text(run.folder / "drift.svg", drift(summary))
    out.result({**document, "folder": str(run.folder)}, Markdown(text))
    out.note(f"rows, summary and pictures: {run.folder}")


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"policies: {name!r} has {text!r} where a number belongs") from None


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no number") from None
    if not 0.0 < value < 1.0:
        raise ArgumentTypeError(f"{text} is out of range; give a probability between 0 and 1")
    return value
