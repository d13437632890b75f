"""An evaluation: an agent plays episodes; rows are stored the moment they come, and shown at the end."""

from __future__ import annotations

import logging
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfvgen_plan.agents.registry import check_plays
from sfvgen_plan.benchmarks.protocols import Protocol, chosen
from sfvgen_plan.benchmarks.results.row import EpisodeKey, EpisodeRow
from sfvgen_plan.benchmarks.results.store import Recorder, provenance
from sfvgen_plan.benchmarks.results.summary import Summary
from sfvgen_plan.benchmarks.running.contestant import Contestant, Entry
from sfvgen_plan.benchmarks.running.episode import Job, Recording
from sfvgen_plan.benchmarks.running.play import default_lanes, jobs_for, play
from sfvgen_plan.benchmarks.running.ray_pool import cluster_cpus, connected
from sfvgen_plan.benchmarks.running.side_by_side import imagined, pictures
from sfvgen_plan.catalogue import check_covers
from sfvgen_plan.console import Output
from sfvgen_plan.devices import resolve_device
from sfvgen_plan.envs.family import Family, family_of, scene_of
from sfvgen_plan.errors import UserError
from sfvgen_plan.pool import open_pool

if TYPE_CHECKING:
    import numpy as np

    from sfvgen_plan.model.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

EPISODES_OF_A_TASK = 5


@dataclass(frozen=True)
class Evaluation:
    """An agent, and the episodes that it is to play: rules, and which of their tasks. Nothing is loaded yet."""

    entry: Entry
    protocol: Protocol
    tasks: tuple[str, ...]
    checkpoint: str | Checkpoint | None = None
    device: str = "auto"

    @classmethod
    def of(
        cls,
        entry: Entry,
        *,
        task: str | None = None,
        suite: str | None = None,
        episodes: int | None = None,
        seed: int = 0,
        max_decisions: int | None = None,
        checkpoint: str | None = None,
        device: str = "auto",
    ) -> Evaluation:
        """From the options of a command line: a task, or a suite. Raises UserError: unknown names, seeds of training
        data, tasks that the agent doesn't play or the checkpoint doesn't cover."""
        protocol, tasks = chosen(suite, [task] if task else [], checkpoint)
        episodes = episodes or (EPISODES_OF_A_TASK if task else protocol.episodes)
        protocol = protocol.variant(max_decisions=max_decisions, first_seed=seed, episodes=episodes)
        check_plays(entry.agent, tasks)
        evaluation = cls(entry, protocol, tasks, checkpoint, device)
        if evaluation.takes_checkpoint:
            check_covers(checkpoint, map(scene_of, tasks), protocol)
        return evaluation

    @cached_property
    def family(self) -> Family:
        """The simulator that all of the tasks are of."""
        return family_of(self.tasks[0])

    @property
    def takes_checkpoint(self) -> bool:
        """Whether the agent is given a checkpoint: one of the user's own gets what was asked for, if anything."""
        return self.entry.kind.needs_checkpoint or (":" in self.entry.agent and self.checkpoint is not None)

    @property
    def record(self) -> dict[str, Any]:
        """What is stored beside the rows."""
        return {
            "protocol": self.protocol.id,
            "agent": self.entry.name,
            "who": self.entry.agent,
            "settings": self.entry.settings,
            "protocol_hash": self.protocol.rules_hash,
            "rules": asdict(self.protocol),
            "command": shlex.join(["sfvgen-plan", *sys.argv[1:]]),
            **provenance(),
        }

    def new_folder(self) -> Path:
        """A new folder in ``runs``."""
        what = self.tasks[0] if len(self.tasks) == 1 else self.protocol.id
        name = re.sub(r"[^\w.+=-]+", "-", f"{datetime.now():%Y%m%d-%H%M%S}-{what}-{self.entry.name}")[:120]
        path = Path("runs") / name
        return path if not path.exists() else Path("runs") / f"{name}-{datetime.now():%f}"

    def contestant(self) -> Contestant:
        """Load what the agent needs and make it. Raises UserError: unusable checkpoint or device."""
        here, checkpoint, device = not self.entry.kind.acts_on_env, self.checkpoint, "cpu"
        if here and self.takes_checkpoint:
            from sfvgen_plan.model.checkpoint import load_checkpoint  # imports torch

            checkpoint = load_checkpoint(checkpoint, self.device)
            device = str(checkpoint.pipeline.device)
        elif here and ":" in self.entry.agent:
            device = resolve_device(self.device)
        return self.entry.made(checkpoint, device, self.family.action_dim)

    def recording(self, checkpoint: Checkpoint, decisions: int) -> Recording:
        """The first episode, in frames of the checkpoint, which the agent is given, of so many decisions whether solved
        or not. Raises UserError: what broke the episode off."""
        protocol = replace(self.protocol, max_decisions=decisions, linger=decisions, **checkpoint.frames)
        contestant = replace(self, protocol=protocol, checkpoint=checkpoint).contestant()
        job = Job(self.tasks[0], protocol.first_seed, record=True)
        (played,) = play(protocol, [job], contestant)
        if played.recording is None:
            raise UserError(f"task={job.task!r}: the episode of seed {job.seed} broke off: {played.row.error}")
        return played.recording


def play_and_store(
    evaluation: Evaluation,
    recorder: Recorder,
    out: Output,
    lanes: int | None = None,
    ray: str | None = None,
    video: Path | None = None,
) -> list[EpisodeRow]:
    """Play what is missing and show all rows, also of earlier runs, and also when it ends early; returns them. Rows go
    to ``recorder``, which is closed. Raises UserError: what graphics, model, device or the first episode refuse.

    Args:
        lanes: episodes side by side; None: as the machine allows.
        ray: address of a cluster, or "local", to play there.
        video: file for the first episode of each task, with what the agent's checkpoint imagines of it, if it has one.
    """
    protocol, rules = evaluation.protocol, evaluation.protocol.rules_hash
    if video or not evaluation.entry.kind.acts_on_env:
        evaluation.family.check_drawing()  # said now instead of in every episode
    with out.progress("loading"):
        contestant = evaluation.contestant()
    key = EpisodeKey(protocol.id, "", contestant.name, 0, contestant.checkpoint)
    jobs = {
        key._replace(task=job.task, seed=job.seed): job
        for job in jobs_for(evaluation.tasks, protocol.seeds, protocol.first_seed if video else None)
    }
    played = recorder.played(jobs, rules)
    pending = [job for key, job in jobs.items() if key not in played or played[key].error]
    if len(pending) < len(jobs):
        out.note(f"{len(jobs) - len(pending)} of {len(jobs)} episodes are there already")
    filmed: dict[str, Recording] = {}
    finished = False
    try:
        place = connected(ray) if ray and pending else nullcontext(open_pool)
        with out.progress("episodes", total=len(pending)) as bar, place as opening:

            def decided(job: Job, decisions: int) -> None:
                bar.describe(f"{job.task}, seed {job.seed}, decision {decisions} of {protocol.max_decisions}")

            slots = lanes or (cluster_cpus() if ray and pending else default_lanes(contestant))
            for row, recording, details in play(protocol, pending, contestant, slots, decided, opening):
                if details:
                    recorder.log_failure(f"{row.task} seed {row.seed}", details)
                if recording:
                    filmed[row.task] = recording
                recorder.append(row)
                bar.advance()
        finished = True
    finally:
        rows = list(recorder.played(jobs, rules).values())
        summary = Summary(rows) if rows else None
        _show(out, evaluation, summary, recorder, finished)
        if video and filmed:
            _film(out, video, [filmed[task] for task in evaluation.tasks if task in filmed], contestant)
        if summary:
            out.conclude(summary.verdict())
    return rows


def _show(out: Output, evaluation: Evaluation, summary: Summary | None, recorder: Recorder, finished: bool) -> None:
    """Close the recorder, and show its rows, if there are any: a table, or JSON."""
    try:
        file = recorder.close()
    except (OSError, UserError) as error:
        file = recorder.path
        logger.warning("the CSV could not be written (%s); the rows are in %s", error, file)
    if summary is None:
        return
    data: dict[str, Any] = {
        "protocol": evaluation.protocol.id, "protocol_hash": evaluation.protocol.rules_hash, "agent": summary.agent,
        "checkpoint": summary.checkpoint, "finished": finished, "folder": str(recorder.path.parent),
        "store": str(recorder.path),
        "summaries": [own.to_dict() for own in summary.in_order(evaluation.tasks)],
        "episodes": [row.values() for row in summary.rows],
    }  # fmt: skip
    out.result(data, summary.table(evaluation.tasks))
    out.note(f"rows: {file}")
    if summary.errors:
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
