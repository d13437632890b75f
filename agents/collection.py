"""Collects training episodes in parallel; may be killed at any time, and still gives the same data."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

from sfvgen_plan.agents.registry import make_agent, needs_checkpoint
from sfvgen_plan.agents.wandering import play_agent
from sfvgen_plan.catalogue import check_covers
from sfvgen_plan.data.seeds import FIRST_TRAINING_SEED
from sfvgen_plan.data.staging import StagedEpisode
from sfvgen_plan.devices import cpu_cores
from sfvgen_plan.envs.family import Family, canonical, family_of, resolve
from sfvgen_plan.errors import SimulatorError, UserError
from sfvgen_plan.io import atomic
from sfvgen_plan.pool import each, open_pool

logger = logging.getLogger(__name__)

STAGING_SUFFIX = ".partial"
SETTINGS_FILE = "settings.json"
WANDERING = "sfvgen_plan.agents.wandering:play_wandering"
FORMAT = 2
"""Of the collected data; raised whenever the same settings would give other episodes."""


@dataclass(frozen=True)
class CollectionSettings:
    """Everything the data depends on.

    Attributes:
        tasks: of one simulator, in the order the dataset has them.
        episodes: per task; episode i has seed ``seed + i``.
        decisions: of every episode; of tasks that end by themselves at most.
        seed: first seed, at least ``FIRST_TRAINING_SEED``.
        size, camera, repeat: of the simulator's environment.
        random: whether all episodes are random motion, without an expert's advice.
        agent: who plays, as in ``sfvgen_plan.agents.registry``; empty for what the simulator's family has.
        checkpoint: of an agent that needs one.

    Raises:
        UserError: unknown task or agent, a checkpoint that doesn't cover the tasks, a number that is too small.
    """

    tasks: tuple[str, ...]
    episodes: int
    decisions: int = 40
    seed: int = FIRST_TRAINING_SEED
    size: int = 128
    camera: str = "corner4"
    repeat: int = 5
    random: bool = False
    agent: str = ""
    checkpoint: str | None = None
    format: int = FORMAT

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", tuple(dict.fromkeys(canonical(task) for task in self.tasks)))
        if not self.tasks:
            raise UserError("tasks is empty; name at least one task")
        if len({family_of(task).name for task in self.tasks}) > 1:
            raise UserError(f"tasks={', '.join(self.tasks)} are of two simulators; collect a dataset of each")
        if self.agent and needs_checkpoint(self.agent):
            check_covers(self.checkpoint, self.tasks)
        for task in self.tasks:
            if task in self.family.unplayed and not (self.random or self.agent):
                raise UserError(f"task={task!r} has no demonstrations to collect; choose another task")
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

    def as_dict(self) -> dict[str, Any]:
        """For JSON; with what training has to know of the simulator."""
        family = self.family
        return {**asdict(self), "tasks": list(self.tasks), "source": family.source.as_dict(), "env_id": family.env_id}


def collect(
    out: str | Path,
    tasks: Sequence[str],
    episodes_per_task: int,
    decisions: int = 40,
    seed: int = FIRST_TRAINING_SEED,
    workers: int | None = None,
    size: int = 128,
    camera: str = "corner4",
    repeat: int = 5,
    random: bool = False,
    agent: str = "",
    checkpoint: str | None = None,
    on_episode: Callable[[], None] = lambda: None,
) -> Path:
    """Collect a dataset that ``load_episodes`` and ``minari.MinariDataset`` read.

    Finished episodes lie in ``<out>.partial`` until all are there; then they become ``out`` in one rename. Calling
    again with the same settings goes on where it was stopped, at whatever moment; the number of workers may change. An
    episode whose file is damaged is played again; without a finished episode nothing stays.

    Args:
        out: folder to make. If it is this very dataset already, nothing is done.
        tasks: of one simulator.
        episodes_per_task: per task.
        decisions, seed, size, camera, repeat, random, agent, checkpoint: see ``CollectionSettings``.
        workers: processes; default one per usable core, at most one per missing episode; 1 is this process itself.
        on_episode: called for each episode, those found finished included.

    Returns:
        ``out``.

    Raises:
        UserError: bad settings; ``out`` or its partial folder is there with other settings, or is something else, or
            is damaged.
        SimulatorError: the simulator kept failing. Finished episodes are kept.
    """
    settings = CollectionSettings(
        tuple(tasks), episodes_per_task, decisions, seed, size, camera, repeat, random, agent, checkpoint
    )
    if workers is not None and workers < 1:
        raise UserError(f"workers={workers} is too small; give at least 1")

    def play(missing: Sequence[tuple[str, int]], staging: Path) -> None:
        slots = min(workers or cpu_cores(), len(missing))
        with closing(open_pool(partial(EpisodePlayer, settings, staging), slots)) as pool:
            for _ in each(pool, [methodcaller("play", task, number) for task, number in missing]):
                on_episode()

    return gather(Path(out), settings, play, on_episode)


def gather(
    out: Path,
    settings: CollectionSettings,
    play: Callable[[Sequence[tuple[str, int]], Path], None],
    on_episode: Callable[[], None] = lambda: None,
) -> Path:
    """``collect``, whoever plays: ``play`` is given the (task, number) of the episodes that are missing, and saves each
    at its ``staged_path`` in the folder that it is given, too."""
    if out.is_file():
        raise UserError(f"out={str(out)!r} is a file; choose another folder")
    if out.is_dir() and any(out.iterdir()):
        from sfvgen_plan.data.episodes import read_metadata

        _check_same(out, read_metadata(out)["collection"], settings)
        for _ in settings.plan:
            on_episode()
        return out
    staging = _staging_of(out)
    _begin(staging, settings)
    try:
        missing = [episode for episode in settings.plan if not _is_whole(staged_path(staging, *episode))]
        for _ in range(len(settings.plan) - len(missing)):
            on_episode()
        play(missing, staging)
        _assemble(out, staging, settings)
    except BaseException:  # Ctrl-C, too
        if not _has_episodes(staging):
            _remove_staging(staging)
        raise
    return out


def kept(out: Path) -> str:
    """What a collection that ended early leaves."""
    staging = _staging_of(out)
    if not staging.exists():
        return "no episode was finished, and nothing is kept"
    done = len(list(staging.glob("*.npz")))
    return f"{done} finished episodes are kept in {staging}, and the same command goes on from there"


def staged_path(staging: Path, task: str, number: int) -> Path:
    """Where episode ``number`` of ``task`` is kept until all are there."""
    return staging / f"{task.replace('/', '-')}.{number:06d}.npz"


class EpisodePlayer:
    """Plays training episodes, each into a file of the staging folder. It has one environment, and so one renderer, at
    a time, and imports torch only for an agent that does."""

    def __init__(self, settings: CollectionSettings, staging: Path) -> None:
        self._settings, self._staging = settings, staging
        self._env: Any = None
        self._agent: Any = None

    def play(self, task: str, number: int) -> SimulatorError | None:
        """Play an episode, which depends on nothing but the settings. The error of a simulator that kept failing is
        returned: the pool raises it as it is, where others come with their traceback."""
        settings = self._settings
        if self._env is None or self._env.unwrapped.task != task:
            self.close()
            frames = {"size": settings.size, "camera": settings.camera, "repeat": settings.repeat}
            self._env = settings.family.make(task, **frames, max_decisions=settings.decisions)
        if settings.agent and self._agent is None:
            self._agent = make_agent(settings.agent, settings.checkpoint, action_dim=settings.family.action_dim)
        usual = WANDERING if settings.random else settings.family.play
        play = partial(play_agent, agent=self._agent) if settings.agent else resolve(usual)
        try:
            episode: StagedEpisode = play(self._env, settings.seed + number, settings.decisions)
        except SimulatorError as error:
            return error
        # One whose parent was killed plays on to the end, and the folder may have become another collection's.
        file = self._staging / SETTINGS_FILE
        if file.exists() and _read_settings(file) == settings.as_dict():
            episode.save(staged_path(self._staging, task, number))
        return None

    def close(self) -> None:
        if self._env is not None:
            self._env.close()
        self._env = None


def _staging_of(out: Path) -> Path:
    return out.with_name(out.name + STAGING_SUFFIX)


def _begin(staging: Path, settings: CollectionSettings) -> None:
    """Make the staging folder, or make sure that it is of these settings."""
    file = staging / SETTINGS_FILE
    if _has_episodes(staging):
        return _check_same(staging, _read_settings(file), settings)
    # Without a finished episode there is nothing to lose, whatever was to be collected before.
    _remove_staging(staging)
    with atomic(file, "out") as staged:
        staged.write_text(json.dumps(settings.as_dict()), encoding="utf-8")


def _has_episodes(staging: Path) -> bool:
    return any(staging.glob("*.npz"))


def _remove_staging(staging: Path) -> None:
    """Remove a staging folder without episodes; files in it that are none of ours stay."""
    (staging / SETTINGS_FILE).unlink(missing_ok=True)
    for left in staging.glob(".writing-*"):
        shutil.rmtree(left, ignore_errors=True)
    with suppress(OSError):
        staging.rmdir()


def _is_whole(path: Path) -> bool:
    """Whether the episode is there. A damaged one is removed: it will be played again, and be the same."""
    try:
        return path.exists() and bool(StagedEpisode.load(path))
    except UserError as error:
        logger.warning("%s", error)
        path.unlink()
        return False


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("not a mapping")
    except (OSError, ValueError) as error:
        raise UserError(
            f"out={str(file.parent)!r} has no readable {SETTINGS_FILE} ({error}), which tells what its episodes are; "
            "choose another folder or delete it"
        ) from error
    return found


def _check_same(folder: Path, there: dict[str, Any], settings: CollectionSettings) -> None:
    wanted = settings.as_dict()
    different = [name for name in wanted if there.get(name) != wanted[name]]
    if different:
        found, asked = (", ".join(f"{name}={of.get(name)}" for name in different) for of in (there, wanted))
        raise UserError(
            f"out={str(folder)!r} has {found}, but {asked} was asked for; choose another folder or delete it"
        )


def _assemble(out: Path, staging: Path, settings: CollectionSettings) -> None:
    """Turn the staged episodes into ``out``."""
    from sfvgen_plan.data.minari_writer import write_dataset

    episodes = (StagedEpisode.load(staged_path(staging, task, number)) for task, number in settings.plan)
    write_dataset(staging / "dataset", out.name, episodes, settings.as_dict())
    (staging / "dataset").replace(out)
    # The last episode of a process that was left behind may turn up just now; the dataset is complete without it.
    shutil.rmtree(staging, ignore_errors=True)
