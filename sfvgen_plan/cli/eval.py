"""``sfvgen-plan eval``: an agent acts in the real environment, and is scored."""

from __future__ import annotations

import logging
import re
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfvgen_plan.agents.players import agent_names
from sfvgen_plan.arguments import add_model_arguments, add_overrides, non_negative_int, positive_int
from sfvgen_plan.catalogue import check_covers
from sfvgen_plan.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from sfvgen_plan.benchmarks.protocols import Protocol
    from sfvgen_plan.benchmarks.report.clips import ClipMaker
    from sfvgen_plan.benchmarks.results import EpisodeRow
    from sfvgen_plan.benchmarks.results.recording import Recorder
    from sfvgen_plan.benchmarks.running.episodes import Job, Recording
    from sfvgen_plan.benchmarks.running.runner import Contestant, Observer

logger = logging.getLogger(__name__)

DRAWN_BY_MUJOCO = ("sfvgen/Metaworld-v0", "sfvgen/Memory-v0")

HELP = "play a task or a suite with an agent; exit 1 when every episode broke off"

EPISODES_OF_A_TASK = 5
LANES_PER_CORE = 4
"""Episodes side by side per core when a GPU decides for all: most of them are waiting for it."""

MAX_LANES = 64
FREEZE = 8
"""Frames that a video stays at the end of an episode."""


def add_arguments(parser: ArgumentParser) -> None:
    """Options of the verb."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--task", help="one task, such as reach-v3 or memory/return")
    what.add_argument("--suite", help="all tasks of a protocol, such as metaworld-10")
    parser.add_argument(
        "--agent",
        default="default",
        help=f"{', '.join(agent_names())}, sb3:path.zip, or module:factory (default: %(default)s)",
    )
    parser.add_argument("--label", help="the agent's name in rows (default: the agent and its changed settings)")
    parser.add_argument(
        "--episodes", type=positive_int, help="episodes per task (default: 5, of a suite its protocol's)"
    )
    parser.add_argument("--seed", type=non_negative_int, default=0, help="seed of the first episode (default: 0)")
    parser.add_argument("--max-decisions", type=positive_int, help="limit of an episode (default: the protocol's)")
    add_model_arguments(parser)
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--lanes", type=positive_int, help="episodes side by side (default: as the machine allows)")
    pace.add_argument(
        "--workers", type=positive_int, help="processes with an agent each, for agents that plan on a CPU"
    )
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="play on Ray: host:port of a cluster, or local; one agent here decides for all"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, metavar="FOLDER", help="run folder (default: a new one in runs/)")
    where.add_argument(
        "--store", type=Path, metavar="FILE", help="a store for many agents; only what is missing there is played"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--video", type=Path, metavar="FILE.mp4", help="write the first episode of each task")
    parser.add_argument(
        "--clips", type=positive_int, metavar="N", help="keep N successes and N failures of each task for the report"
    )
    add_overrides(parser)


def run(args: Namespace) -> int:
    """Play, store each episode's row as it ends, and show the table; what was finished also after Ctrl-C."""
    from functools import partial

    from sfvgen_plan.agents.registry import agent_settings, check_plays, needs_checkpoint
    from sfvgen_plan.benchmarks.contestants import make_contestant
    from sfvgen_plan.benchmarks.results import EpisodeKey
    from sfvgen_plan.benchmarks.running.runner import jobs_for
    from sfvgen_plan.console import Output

    out = Output.of(args)
    protocol, tasks = choose_protocol(args)
    check_files(args)
    settings, label = agent_settings(args.agent, args.overrides)
    check_plays(args.agent, tasks)
    if needs_checkpoint(args.agent):
        check_covers(args.checkpoint, tasks)
    label = args.label or label
    recorder = open_recorder(args, protocol, tasks, label, settings)
    if protocol.env_id in DRAWN_BY_MUJOCO:
        prepare_graphics(args)
    make = partial(make_contestant, args.agent, label, settings, args.checkpoint, args.device, protocol, tasks)
    contestant = make()
    recorder.note("learning", dict(contestant.learning))
    jobs = jobs_for(tasks, protocol.seeds, recorded_seed=protocol.first_seed if args.video else None)
    if args.clips:
        jobs = [replace(job, record=True) for job in jobs]
    clips = make_clips(args, recorder.path, contestant, protocol, tasks) if args.clips else None
    key = EpisodeKey(protocol.id, "", label, 0, contestant.checkpoint)
    pending = recorder.pending(jobs, key, protocol.rules_hash)
    if len(pending) < len(jobs):
        out.note(f"{len(jobs) - len(pending)} of {len(jobs)} episodes are there already")
    recordings: list[Recording] = []
    finished = False
    try:
        with out.progress("episodes", total=len(pending)) as bar:
            filmed = protocol.first_seed if args.video else None
            observer = watch(recorder, bar, recordings, protocol, filmed, clips)
            play(args, protocol, pending, contestant, make, observer)
        finished = True
    finally:
        wanted = {key._replace(task=job.task, seed=job.seed) for job in jobs}
        found = [row for row in recorder.rows(protocol.id) if row.protocol_hash == protocol.rules_hash]
        rows = [row for row in found if row.key in wanted]
        where = finish(recorder)
        if recordings:
            from sfvgen_plan.video import write_mp4

            write_mp4(args.video, captioned(recordings, protocol))
        if rows:
            show(out, protocol, tasks, rows, where, recorder, finished)
    return 1 if all(row.error for row in rows) else 0


def play(
    args: Namespace,
    protocol: Protocol,
    jobs: Sequence[Job],
    contestant: Contestant,
    make: Callable[[], Contestant],
    observer: Observer,
) -> None:
    """The episodes, in this process, in others of this machine, or on Ray."""
    from sfvgen_plan.benchmarks.running.runner import evaluate

    if args.workers:
        evaluate(protocol, jobs, contestant.in_every_slot(make), args.workers, observer)
    elif args.ray and jobs:
        from sfvgen_plan.benchmarks.running.ray_pool import cluster_cpus, connected

        with connected(args.ray) as opening:
            evaluate(protocol, jobs, contestant, args.lanes or cluster_cpus(), observer, opening)
    else:
        evaluate(protocol, jobs, contestant, args.lanes or default_lanes(contestant), observer)


def open_recorder(
    args: Namespace, protocol: Protocol, tasks: list[str], label: str, settings: Mapping[str, Any]
) -> Recorder:
    """Where the rows go: the store of ``--store``, or else a folder of the run's own."""
    from sfvgen_plan.benchmarks.results.provenance import provenance
    from sfvgen_plan.benchmarks.results.recording import Recorder, RunFolder

    record = {
        "protocol": protocol.id,
        "agent": label,
        "settings": settings,
        "protocol_hash": protocol.rules_hash,
        "rules": asdict(protocol),
        "command": shlex.join(["sfvgen-plan", *sys.argv[1:]]),
        **provenance(),
    }
    if args.store:
        return Recorder(args.store, record)
    return RunFolder(args.out or default_folder(args.suite or tasks[0], label), record, args.resume)


def choose_protocol(args: Namespace) -> tuple[Protocol, list[str]]:
    """The rules and tasks that the options ask for.

    Raises:
        UserError: unknown task or suite, or seeds that belong to training data.
    """
    from sfvgen_plan.benchmarks.protocols import load_protocol, protocol_for_task
    from sfvgen_plan.envs.simulators import simulator_of

    if args.suite:
        protocol = load_protocol(args.suite)
        tasks, episodes = list(protocol.tasks), protocol.episodes
    else:
        tasks, episodes = [simulator_of(args.task).canonical(args.task)], EPISODES_OF_A_TASK
        protocol = protocol_for_task(tasks[0])
    episodes = args.episodes or episodes
    return protocol.variant(max_decisions=args.max_decisions, first_seed=args.seed, episodes=episodes), tasks


def check_files(args: Namespace) -> None:
    """UserError for paths that could only fail later."""
    from sfvgen_plan.video import check_video_path

    if args.resume and args.out is None:
        raise UserError("resume=True needs the folder of the run; add --out FOLDER")
    if args.ray and args.workers:
        raise UserError(f"ray={args.ray!r} and workers={args.workers} are two ways to spread out; give one")
    if args.video:
        check_video_path(args.video)


def default_folder(what: str, label: str) -> Path:
    """A new folder in ``runs``."""
    name = re.sub(r"[^\w.+=-]+", "-", f"{datetime.now():%Y%m%d-%H%M%S}-{what}-{label}")[:120]
    path = Path("runs") / name
    return path if not path.exists() else Path("runs") / f"{name}-{datetime.now():%f}"


def prepare_graphics(args: Namespace) -> None:
    """UserError now instead of in every episode, where frames are needed and can't be drawn."""
    from sfvgen_plan.agents.registry import acts_on_env
    from sfvgen_plan.envs.rendering import gl_backend

    if args.video or not acts_on_env(args.agent):
        gl_backend()


def default_lanes(contestant: Contestant) -> int:
    """Agents in workers use all cores; a GPU decides for many episodes at once; a CPU for one, which starts fastest."""
    from sfvgen_plan.devices import cpu_cores

    if contestant.env_agent is not None:
        return cpu_cores()
    return 1 if contestant.device.startswith("CPU") else min(MAX_LANES, LANES_PER_CORE * cpu_cores())


def finish(recorder: Recorder) -> Path:
    """Close the store, and return the file to name to people: the CSV of a run folder, or the store."""
    from sfvgen_plan.benchmarks.results.recording import RunFolder

    try:
        return recorder.export() if isinstance(recorder, RunFolder) and recorder.path.exists() else recorder.path
    except OSError as error:
        logger.warning("the CSV could not be written (%s); the rows are in %s", error, recorder.path)
        return recorder.path
    finally:
        recorder.close()


def make_clips(
    args: Namespace, store: Path, contestant: Contestant, protocol: Protocol, tasks: Sequence[str]
) -> ClipMaker:
    """What keeps clips; it imagines with the agent's checkpoint, or else with the given or bundled one if it fits."""
    from sfvgen_plan.benchmarks.contestants import checkpoint_for
    from sfvgen_plan.benchmarks.report.clips import ClipMaker
    from sfvgen_plan.devices import resolve_device

    simulator = None
    try:
        checkpoint = checkpoint_for(protocol, tasks, args.checkpoint, resolve_device(args.device))
        simulator = checkpoint.simulator(anchor_every=None)
    except UserError as error:
        if args.checkpoint:
            raise
        logger.warning("clips show the real episodes alone: %s", error)
    of = {
        "protocol": protocol.id,
        "protocol_hash": protocol.rules_hash,
        "agent": contestant.name,
        "checkpoint": contestant.checkpoint,
    }
    return ClipMaker(store, of, simulator, args.clips)


def watch(
    recorder: Recorder,
    bar: Any,
    recordings: list[Recording],
    protocol: Protocol,
    filmed: int | None,
    clips: ClipMaker | None,
) -> Any:
    """An observer that stores rows, failures and clips, collects the recordings of seed ``filmed``, and moves the
    bar."""
    from sfvgen_plan.benchmarks.running.runner import Observer

    class Watch(Observer):
        def decided(self, job: Job, decisions: int) -> None:
            bar.describe(f"{job.task} seed {job.seed}: decision {decisions}/{protocol.max_decisions}")

        def recorded(self, recording: Recording) -> None:
            if recording.job.seed == filmed:
                recordings.append(recording)
            if clips is not None:
                clips.add(recording)

        def failed(self, job: Job, details: str) -> None:
            recorder.log_failure(job, details)

        def ended(self, row: EpisodeRow) -> None:
            recorder.append(row)
            bar.advance()

    return Watch()


def show(
    out: Any,
    protocol: Protocol,
    tasks: Sequence[str],
    rows: Sequence[EpisodeRow],
    where: Path,
    recorder: Recorder,
    finished: bool,
) -> None:
    """The result: a table, or JSON."""
    from sfvgen_plan.benchmarks.report.summary import per_task, terminal_table

    data = {
        "protocol": protocol.id,
        "protocol_hash": protocol.rules_hash,
        "agent": rows[0].agent,
        "checkpoint": rows[0].checkpoint,
        "finished": finished,
        "folder": str(recorder.path.parent),
        "store": str(recorder.path),
        "summaries": [summary.to_dict() for summary in per_task(rows, tasks)],
        "episodes": [{name.rstrip("_"): value for name, value in asdict(row).items()} for row in rows],
    }
    out.result(data, terminal_table(rows, tasks))
    out.note(f"rows: {where}")
    if any(row.error for row in rows):
        out.note(f"errors: {recorder.errors}")


def captioned(recordings: Sequence[Recording], protocol: Protocol) -> Iterator[np.ndarray]:
    """Frames of the video: each episode with its task, decision and success above it, and a rest at its end."""
    from sfvgen_plan.video import caption, enlarge

    order = {task: index for index, task in enumerate(protocol.tasks)}
    for recording in sorted(recordings, key=lambda recording: order[recording.job.task]):
        solved = recording.success.cumsum() > 0
        job, last = recording.job, len(recording.frames) - 1
        for decision, frame in enumerate(recording.frames):
            text = f"{job.task}   seed {job.seed}   decision {decision}" + ("   solved" if solved[decision] else "")
            picture = caption(enlarge(frame), text, highlight=bool(solved[decision]))
            yield from [picture] * (FREEZE if decision == last else 1)
