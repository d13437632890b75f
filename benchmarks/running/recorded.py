"""Playing an evaluation: rows are stored the moment they come, shown at the end, and some episodes are filmed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfvgen_plan.agents.registry import settings_of
from sfvgen_plan.benchmarks.report.tables import eval_table, verdict
from sfvgen_plan.benchmarks.results import EpisodeKey, EpisodeRow
from sfvgen_plan.benchmarks.results.recording import Recorder
from sfvgen_plan.benchmarks.results.summary import Summary
from sfvgen_plan.benchmarks.running.evaluation import Evaluation
from sfvgen_plan.benchmarks.running.ray_pool import cluster_cpus, connected
from sfvgen_plan.benchmarks.running.runner import Contestant, Observer, evaluate, jobs_for
from sfvgen_plan.benchmarks.running.side_by_side import imagined, pictures
from sfvgen_plan.console import Bar, Output
from sfvgen_plan.devices import cpu_cores
from sfvgen_plan.envs.family import family_of
from sfvgen_plan.errors import UserError
from sfvgen_plan.pool import open_pool

if TYPE_CHECKING:
    import numpy as np

    from sfvgen_plan.benchmarks.running.episodes import Job, Recording

logger = logging.getLogger(__name__)

LANES_PER_CORE = 4
"""Episodes side by side per core when a GPU decides for all: most of them are waiting for it."""

MAX_LANES = 64


def play_and_store(
    evaluation: Evaluation,
    recorder: Recorder,
    out: Output,
    lanes: int | None = None,
    ray: str | None = None,
    video: Path | None = None,
) -> list[EpisodeRow]:
    """Play what is missing and show all rows, also of earlier runs, and also when it ends early; returns them.

    Args:
        evaluation: who plays what.
        recorder: where rows go; it is closed.
        out: where progress and the result are shown.
        lanes: episodes side by side; None: as the machine allows.
        ray: address of a cluster, or "local", to play there.
        video: file for the first episode of each task, with what the agent's checkpoint imagines of it, if it has one.

    Raises:
        UserError: what graphics, model, device or the first episode refuse.
    """
    protocol, rules = evaluation.protocol, evaluation.protocol.rules_hash
    if video or not settings_of(evaluation.agent).acts_on_env:
        family_of(evaluation.tasks[0]).check_drawing()  # said now instead of in every episode
    with out.progress("loading"):
        contestant = evaluation.contestant()
    key = EpisodeKey(protocol.id, "", evaluation.label, 0, contestant.checkpoint)
    jobs = {
        key._replace(task=job.task, seed=job.seed): job
        for job in jobs_for(evaluation.tasks, protocol.seeds, protocol.first_seed if video else None)
    }
    played = recorder.played(jobs, rules)
    pending = [job for key, job in jobs.items() if key not in played or played[key].error]
    if len(pending) < len(jobs):
        out.note(f"{len(jobs) - len(pending)} of {len(jobs)} episodes are there already")
    watch = _Watch(recorder, evaluation)
    finished = False
    try:
        place = connected(ray) if ray and pending else nullcontext(open_pool)
        with out.progress("episodes", total=len(pending)) as watch.bar, place as opening:
            slots = lanes or (cluster_cpus() if ray and pending else default_lanes(contestant))
            evaluate(protocol, pending, contestant, slots, watch, opening)
        finished = True
    finally:
        rows = list(recorder.played(jobs, rules).values())
        _show(out, evaluation, rows, recorder, finished)
        if video and watch.filmed:
            _film(
                out, video, sorted(watch.filmed, key=lambda filmed: evaluation.tasks.index(filmed.job.task)), contestant
            )
        if rows:
            out.conclude(verdict(rows))
    return rows


def default_lanes(contestant: Contestant) -> int:
    """Agents in workers use all cores; a GPU decides for many episodes at once; a CPU for one, which starts fastest."""
    if contestant.env_agent is not None:
        return cpu_cores()
    return 1 if contestant.device.startswith("CPU") else min(MAX_LANES, LANES_PER_CORE * cpu_cores())


@dataclass
class _Watch(Observer):
    """Stores rows and failures, keeps the recordings to be filmed, and moves the bar."""

    recorder: Recorder
    evaluation: Evaluation
    bar: Bar | None = None
    filmed: list[Recording] = field(default_factory=list)

    def decided(self, job: Job, decisions: int) -> None:
        assert self.bar is not None
        limit = self.evaluation.protocol.max_decisions
        self.bar.describe(f"{job.task}, seed {job.seed}, decision {decisions} of {limit}")

    def recorded(self, recording: Recording) -> None:
        if recording.job.seed == self.evaluation.protocol.first_seed:
            self.filmed.append(recording)

    def failed(self, job: Job, details: str) -> None:
        self.recorder.log_failure(f"{job.task} seed {job.seed}", details)

    def ended(self, row: EpisodeRow) -> None:
        assert self.bar is not None
        self.recorder.append(row)
        self.bar.advance()


def _show(out: Output, evaluation: Evaluation, rows: Sequence[EpisodeRow], recorder: Recorder, finished: bool) -> None:
    """Close the recorder, and show its rows, if there are any: a table, or JSON."""
    try:
        file = recorder.close()
    except (OSError, UserError) as error:
        file = recorder.path
        logger.warning("the CSV could not be written (%s); the rows are in %s", error, file)
    if not rows:
        return
    data: dict[str, Any] = {
        "protocol": evaluation.protocol.id,
        "protocol_hash": evaluation.protocol.rules_hash,
        "agent": rows[0].agent,
        "checkpoint": rows[0].checkpoint,
        "finished": finished,
        "folder": str(recorder.path.parent),
        "store": str(recorder.path),
        "summaries": [summary.to_dict() for summary in Summary(rows).in_order(evaluation.tasks)],
        "episodes": [row.values() for row in rows],
    }
    out.result(data, eval_table(rows, evaluation.tasks))
    out.note(f"rows: {file}")
    if any(row.error for row in rows):
        out.note(f"errors: {recorder.errors}")


def _film(out: Output, path: Path, recordings: Sequence[Recording], contestant: Contestant) -> None:
    """Write the episodes as one video, and tell where it is."""
    from sfvgen_plan.video import write_video

    loaded = contestant.loaded
    simulator = loaded.simulator() if loaded is not None and loaded.pipeline.transformer is not None else None
    with out.progress("video", total=len(recordings)) as bar:

        def frames() -> Iterator[np.ndarray]:
            for recording in recordings:
                yield from pictures(recording, imagined(recording, simulator) if simulator else None)
                bar.advance()

        write_video(path, frames())
    out.note(f"video: {path}")
