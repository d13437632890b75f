"""Collects training episodes in parallel; may be killed at any time, and still gives the same data.

Finished episodes lie in ``<out>.partial`` until all are there; then they become ``out`` in one rename.
"""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_plan.agents.registry import check_plays
from sfvgen_plan.benchmarks.protocols import Protocol, protocol_of
from sfvgen_plan.benchmarks.running.contestant import Contestant, Entry
from sfvgen_plan.benchmarks.running.episode import Job, Recording
from sfvgen_plan.benchmarks.running.play import play
from sfvgen_plan.cameras import frames_of
from sfvgen_plan.catalogue import check_covers
from sfvgen_plan.data.sources import FIRST_TRAINING_SEED
from sfvgen_plan.data.staging import StagedEpisode
from sfvgen_plan.devices import cpu_cores
from sfvgen_plan.envs.family import Family, canonical, family_of
from sfvgen_plan.errors import UserError
from sfvgen_plan.run_note import RunNote, check_same

STAGING_SUFFIX = ".partial"
SETTINGS_FILE = "settings.json"
FORMAT = 4  # of the collected data; raised whenever the same settings would give other episodes


@dataclass(frozen=True)
class CollectionSettings:
    """Everything the data depends on. Raises UserError: unknown task, tasks of two simulators, a number that is too
    small."""

    tasks: tuple[str, ...]  # of one simulator, in the order the dataset has them
    episodes: int  # per task; episode i has seed seed + i
    decisions: int = 40  # of every episode; of tasks that end by themselves at most
    seed: int = FIRST_TRAINING_SEED
    size: int = 128
    camera: str = "corner4"
    repeat: int = 5
    agent: str = ""  # who plays, as in agents.registry, with a checkpoint if it needs one; empty: the family's usual
    checkpoint: str | None = None
    format: int = FORMAT

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", tuple(dict.fromkeys(canonical(task) for task in self.tasks)))
        if not self.tasks:
            raise UserError("tasks is empty; name at least one task")
        if len({family_of(task).name for task in self.tasks}) > 1:
            raise UserError(f"tasks={', '.join(self.tasks)} are of two simulators; collect a dataset of each")
        for task in self.tasks:
            if task in self.family.unplayed and not self.agent:
                raise UserError(f"task={task!r} has no demonstrations to collect; choose another task")
        object.__setattr__(self, "agent", self.agent or self.family.play)
        if self.family.fixed_repeat and self.repeat != self.family.repeat:
            raise UserError(f"repeat={self.repeat} has no meaning for {self.family.title}; give {self.family.repeat}")
        for name in ("episodes", "decisions", "size", "repeat"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)} is too small; give at least 1")
        if self.seed < FIRST_TRAINING_SEED:
            raise UserError(
                f"seed={self.seed} is kept for evaluation; training data starts at seed={FIRST_TRAINING_SEED}"
            )

    @property
    def family(self) -> Family:
        """The simulator that all tasks are of."""
        return family_of(self.tasks[0])

    @property
    def plan(self) -> list[tuple[str, int]]:
        """All (task, number of the episode), in the dataset's order."""
        return [(task, number) for task in self.tasks for number in range(self.episodes)]

    @property
    def rules(self) -> Protocol:
        """When episodes are over, and what their frames are."""
        linger = self.decisions if self.family.linger is None else self.family.linger
        return replace(protocol_of(self.family), **frames_of(self), max_decisions=self.decisions, linger=linger)

    def contestant(self) -> Contestant:
        """Who plays. Raises UserError: an unknown agent, one that can't play the tasks, or a checkpoint that doesn't
        cover them."""
        check_plays(self.agent, self.tasks)
        entry = Entry(self.agent, name=self.agent)
        if entry.kind.needs_checkpoint:
            check_covers(self.checkpoint, self.tasks)
        return entry.made(self.checkpoint, action_dim=self.family.action_dim)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; with what training has to know of the simulator."""
        family = self.family
        return {**asdict(self), "tasks": list(self.tasks), "source": family.source.as_dict(), "env_id": family.env_id}


def collect(
    out: str | Path,
    settings: CollectionSettings,
    lanes: int | None = None,
    on_episode: Callable[[], None] = lambda: None,
    contestant: Contestant | None = None,
    rules: Protocol | None = None,
    advise: bool = False,
) -> Path:
    """Collect a dataset that ``load_episodes`` and ``minari.MinariDataset`` read, into the folder ``out``, which is
    returned; one that is this very dataset already is left as it is. Calling again with the same settings goes on where
    it was stopped, at whatever moment. Without a finished episode nothing stays.

    Args:
        lanes: episodes side by side; None: one per usable core. 1 plays in this process itself. The data is the same.
        on_episode: called for each episode, those found finished included.
        contestant, rules: who plays, and when episodes are over, instead of what the settings say.
        advise: record what the task's expert would do in every state.

    Raises UserError: ``out`` is something else, holds or began a collection with other settings, can't be written; an
    episode broke off.
    """
    out = Path(out)
    if out.is_file():
        raise UserError(f"out={str(out)!r} is a file; choose another folder")
    staging = _staging_of(out)
    note = RunNote(out, staging / SETTINGS_FILE, settings.as_dict())
    if out.is_dir() and any(out.iterdir()):
        from sfvgen_plan.data.episodes import read_metadata

        check_same(f"out={str(out)!r} holds a run", read_metadata(out)["collection"], note.state)
        for _ in settings.plan:
            on_episode()
        return out
    who = contestant or settings.contestant()
    if _has_episodes(staging):
        note.check()
    note.write()
    try:
        missing = [episode for episode in settings.plan if not _staged(staging, *episode).exists()]
        for _ in range(len(settings.plan) - len(missing)):
            on_episode()
        jobs = [Job(task, settings.seed + number, record=True, advise=advise) for task, number in missing]
        own = partial(keep, settings, staging)
        for row, _, _ in play(rules or settings.rules, jobs, who, lanes or cpu_cores(), keep=own):
            if row.error:
                broke = f"task={row.task!r}: the episode of seed {row.seed} broke off ({row.error})"
                raise UserError(f"{broke}; {kept(out)}")
            on_episode()
        from sfvgen_plan.data.minari_writer import write_dataset

        episodes = (StagedEpisode.load(_staged(staging, *episode)) for episode in settings.plan)
        write_dataset(staging / "dataset", out.name, episodes, settings.as_dict())
        (staging / "dataset").replace(out)
        # The last episode of a process that was left behind may turn up just now; the dataset is complete without it.
        shutil.rmtree(staging, ignore_errors=True)
    finally:
        if staging.exists() and not _has_episodes(staging):  # files that are none of ours stay
            note.file.unlink(missing_ok=True)
            with suppress(OSError):
                staging.rmdir()
    return out


def kept(out: Path) -> str:
    """What a collection that ended early leaves."""
    staging = _staging_of(out)
    done = len(list(staging.glob("*.npz")))
    if not done:
        return "no episode was finished, and nothing is kept"
    return f"{done} finished episodes are kept in {staging}, and the same command goes on from there"


def keep(settings: CollectionSettings, staging: Path, recording: Recording) -> None:
    """Save an episode until all are there, in whatever process has played it."""
    # One whose parent was killed plays on to the end, and the folder may have become another collection's.
    file = staging / SETTINGS_FILE
    if file.exists() and json.loads(file.read_text()) == settings.as_dict():
        job = recording.job
        staged(recording).save(_staged(staging, job.task, job.seed - settings.seed))


def staged(recording: Recording) -> StagedEpisode:
    """An episode as it is saved."""
    infos, advice = recording.infos, recording.advice
    if advice is None:
        advice = np.full((len(recording.frames), recording.actions.shape[1]), np.nan, np.float32)
    return StagedEpisode.from_frames(
        recording.frames,
        task=recording.job.task,
        instruction=family_of(recording.job.task).tasks[recording.job.task],
        kind=recording.kind,
        seed=recording.seed,
        state=[info["state"] for info in infos],
        estimates=[info["estimates"] for info in infos],
        actions=recording.actions,
        expert_actions=advice,
        rewards=recording.rewards,
        success=[info["success"] for info in infos],
        description=infos[0].get("instruction", ""),
        sub_goals=tuple(infos[0].get("sub_goals", ())),
        sub_goal=np.array([info["sub_goal_index"] for info in infos if "sub_goal_index" in info], np.int64),
        terminated=recording.terminated,
    )


def _staging_of(out: Path) -> Path:
    return out.with_name(out.name + STAGING_SUFFIX)


def _staged(staging: Path, task: str, number: int) -> Path:
    """Where episode ``number`` of ``task`` is kept until all are there."""
    return staging / f"{task.replace('/', '-')}.{number:06d}.npz"


def _has_episodes(staging: Path) -> bool:
    return any(staging.glob("*.npz"))
