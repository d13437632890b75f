"""LeRobot datasets v2 and v3: numbers in parquet files, frames in mp4 files.

They are turned into a dataset as ``sfvgen-plan collect`` makes them, an episode at a time. A row has what was seen and
the action that followed, so n rows are n frames and n - 1 decisions; of the last row reward and success count for the
decision before. Whoever recorded an episode is taken for its expert. LeRobot doesn't say whether a task ended by
itself, so all episodes count as cut off.
"""

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

import gymnasium as gym
import numpy as np

from sfvgen_plan.actions import Actions
from sfvgen_plan.data.minari_writer import write_dataset
from sfvgen_plan.data.sources import Source
from sfvgen_plan.data.staging import StagedEpisode
from sfvgen_plan.errors import UserError, need_package, reason, unknown_name
from sfvgen_plan.settings import check_number

PREFIX = "lerobot:"  # before the folder of such a dataset, where other recordings could be meant
TASK_PREFIX = "lerobot/"  # a task is called by its text, behind this
ACTION, STATE, REWARD, SUCCESS = "action", "observation.state", "next.reward", "next.success"
EPISODE = "episode_index"


def convert(
    path: str | Path,
    out: str | Path,
    tasks: Sequence[str] | None = None,
    split: str = "train",
    camera: str | None = None,
    size: int = 64,
    repeat: int = 1,
    on_episode: Callable[[], None] = lambda: None,
) -> int:
    """Turn a local LeRobot dataset, a folder with ``meta/info.json``, into one of this package, ``out``, which appears
    when it is complete; returns the number of episodes. Those that are too short for a decision are left out. Raises
    UserError: no such dataset there, or a damaged one; an unknown task, split or camera; no frames or no actions; no
    episodes; a number that makes no sense; ``out`` is there already.

    Args:
        tasks: texts, with or without "lerobot/" before them; default all.
        split: as the dataset names it.
        camera: "observation.images.top" or "top"; None: the first.
        size: side that frames are resized to, in pixels.
        repeat: rows of a decision. Their actions are averaged and their rewards summed.
        on_episode: called after each episode.
    """
    need_package("pyarrow", "lerobot")
    folder, out = Path(path), Path(out)
    if out.exists():
        raise UserError(f"out={str(out)!r} is there already; choose another folder or delete it")
    check_number("size", size, 1)
    check_number("repeat", repeat, 1)
    if not (folder / "meta" / "info.json").is_file():
        raise UserError(f"data={str(folder)!r} is no LeRobot dataset (it has no meta/info.json)")
    with _readable(folder):
        recorded = _Recorded.of(folder, camera)
        chosen = recorded.chosen(tasks, split, repeat)
        settings = {
            "tasks": sorted({_task(episode) for episode in chosen.values()}), "camera": recorded.camera, "size": size,
            "repeat": repeat, "split": split, "source": recorded.source.as_dict(),
        }  # fmt: skip

    def episodes() -> Iterator[StagedEpisode]:
        for episode in recorded.episodes(chosen, size, repeat):
            yield episode
            on_episode()

    write_dataset(out, out.name, episodes(), settings)
    return len(chosen)


@dataclass(frozen=True)
class _Recorded:
    """A dataset as it lies on disk: ``info`` of it, the ``metadata`` of its episodes, and what its actions can be."""

    folder: Path
    info: dict[str, Any]
    metadata: dict[int, dict[str, Any]]
    camera: str
    actions: Actions

    @classmethod
    def of(cls, folder: Path, camera: str | None) -> Self:
        info = json.loads((folder / "meta" / "info.json").read_text(encoding="utf-8"))
        features = info["features"]
        cameras = [name for name, about in features.items() if about["dtype"] == "video"]
        for needed, found in (("videos", cameras), (ACTION, ACTION in features)):
            if not found:
                raise UserError(f"data={str(folder)!r} has no {needed} to learn from; give a dataset that has")
        named = [name for name in cameras if camera in (None, name, name.rpartition(".")[2])]
        if not named:
            raise unknown_name("camera", str(camera), cameras)
        return cls(folder, info, _metadata(folder, named[0]), named[0], _actions(folder))

    @property
    def source(self) -> Source:
        state = self.info["features"].get(STATE)
        readouts = tuple(f"state_{n}" for n in range(int(np.prod(state["shape"])) if state else 0))
        stored = None if self.actions.plain else self.actions.stored()
        return Source(readouts, 0.0, max(1, round(self.info["fps"])), actions=stored)

    def chosen(self, tasks: Sequence[str] | None, split: str, repeat: int) -> dict[int, dict[str, Any]]:
        """The episodes that are wanted and long enough, by their numbers."""
        splits = self.info.get("splits") or {"train": f"0:{max(self.metadata) + 1}"}
        if split not in splits:
            raise unknown_name("split", split, splits)
        start, end = map(int, splits[split].split(":"))
        known = {_task(episode) for episode in self.metadata.values()}
        wanted = known if not tasks else {TASK_PREFIX + task.removeprefix(TASK_PREFIX) for task in tasks}
        for task in wanted - known:
            raise unknown_name("task", task, known)
        chosen = {
            number: episode
            for number, episode in self.metadata.items()
            if start <= number < end and _task(episode) in wanted and episode["length"] > repeat
        }
        if not chosen:
            raise UserError(f"data={str(self.folder)!r} has no episodes of split={split!r}, {', '.join(wanted)}")
        return chosen

    def episodes(self, chosen: dict[int, dict[str, Any]], size: int, repeat: int) -> Iterator[StagedEpisode]:
        """The chosen ones, in the order of their rows."""
        has = self.info["features"]
        columns = [name for name in (ACTION, STATE, REWARD, SUCCESS) if name in has]
        missing = set(chosen)
        with _readable(self.folder):
            for number, group in groupby(_rows(self.folder, [EPISODE, *columns]), itemgetter(EPISODE)):
                rows, episode = list(group), chosen.get(number)
                if episode is None or len(rows) != episode["length"]:
                    continue
                missing.discard(number)
                frames = self._frames(number, episode, size, repeat, (len(rows) - 1) // repeat + 1)
                yield self._episode(number, episode, rows, frames, repeat)
        if missing:
            raise UserError(f"data={str(self.folder)!r} lacks rows of episode {min(missing)}; copy it again")

    def _episode(
        self, number: int, episode: dict[str, Any], rows: list[dict[str, Any]], frames: np.ndarray, repeat: int
    ) -> StagedEpisode:
        decisions = len(frames) - 1

        def column(name: str) -> np.ndarray:
            return np.array([row.get(name, ()) for row in rows], np.float64).reshape(len(rows), -1)

        starts = np.arange(0, decisions * repeat, repeat)
        reward, success = (column(name).sum(1) for name in (REWARD, SUCCESS))  # zeros where there is none
        held = column(ACTION)[: decisions * repeat].reshape(decisions, repeat, -1).mean(1)
        actions = self.actions.inside(held)
        state = column(STATE)[: decisions * repeat + 1 : repeat]
        return StagedEpisode.from_frames(
            frames,
            task=_task(episode),
            instruction=_task(episode).removeprefix(TASK_PREFIX),
            kind="clean",
            seed=number,
            state=state,
            estimates=state.astype(np.float32),
            actions=actions,
            expert_actions=np.concatenate([actions, actions[-1:]]),  # the last one is not read
            rewards=np.add.reduceat(reward, starts),
            success=np.concatenate([[False], np.maximum.reduceat(success, starts) > 0]),
        )

    def _frames(self, number: int, episode: dict[str, Any], size: int, repeat: int, count: int) -> np.ndarray:
        """(count, size, size, 3) uint8 of an episode, which v3 keeps in one video with others."""
        from imageio_ffmpeg import get_ffmpeg_exe  # Looks for its program when it is imported.

        places = {"episode_chunk": number // self.info.get("chunks_size", 1000), EPISODE: number}
        video = self.folder / self.info["video_path"].format(video_key=self.camera, **{**places, **episode})
        # Half a frame before: what is rounded away from a time must not lose the first frame.
        start = max(0.0, episode.get("from_timestamp", 0.0) - 0.5 / self.info["fps"])
        chain = rf"select=not(mod(n\,{repeat})),scale={size}:{size}:flags=area"
        read = [get_ffmpeg_exe(), "-v", "error", "-nostdin", "-ss", f"{start:.6f}", "-i", str(video), "-vf", chain]
        write = ["-fps_mode", "passthrough", "-frames:v", str(count), "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
        done = subprocess.run([*read, *write], capture_output=True)
        shape = (count, size, size, 3)
        if len(done.stdout) != np.prod(shape):
            said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2] or "too few frames"
            raise UserError(f"data={str(video)!r} can't be decoded ({said}); copy it again")
        return np.frombuffer(done.stdout, np.uint8).reshape(shape)


def _task(episode: dict[str, Any]) -> str:
    """The first text of an episode; most have one."""
    return TASK_PREFIX + episode["tasks"][0]


def _metadata(folder: Path, camera: str) -> dict[int, dict[str, Any]]:
    """Texts and length of each episode, by its number; of v3 also where its frames are."""
    from pyarrow.dataset import dataset

    meta = folder / "meta"
    if (meta / "episodes.jsonl").is_file():
        lines = (meta / "episodes.jsonl").read_text(encoding="utf-8").splitlines()
        return {episode[EPISODE]: episode for episode in map(json.loads, lines)}
    found = dataset(meta / "episodes", format="parquet")
    prefix = f"videos/{camera}/"
    own = [name for name in found.schema.names if name in (EPISODE, "tasks", "length") or name.startswith(prefix)]
    rows = found.to_table(columns=own).to_pylist()
    return {row[EPISODE]: {name.removeprefix(prefix): value for name, value in row.items()} for row in rows}


def _rows(folder: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    """All rows in their order, of which few are in memory at a time."""
    from pyarrow.dataset import dataset

    few: dict[str, Any] = {"batch_size": 1024, "batch_readahead": 1, "fragment_readahead": 1}
    for batch in dataset(folder / "data", format="parquet").to_batches(columns=columns, **few):
        yield from batch.to_pylist()


def _actions(folder: Path) -> Actions:
    """The numbers that actions lie between; where those are all in [-1, 1], that."""
    held = (np.array(row[ACTION], np.float32).ravel() for row in _rows(folder, [ACTION]))
    low = high = next(held)
    for action in held:
        low, high = np.minimum(low, action), np.maximum(high, action)
    if not np.isfinite([low, high]).all():
        raise UserError(f"data={str(folder)!r} has actions that are not finite; leave them out")
    if np.abs([low, high]).max() <= 1:
        low, high = -np.ones_like(low), np.ones_like(high)
    return Actions(gym.spaces.Box(low, high, dtype=np.float32))


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Turns what reading runs into into one line."""
    try:
        yield
    except UserError:
        raise
    except (OSError, KeyError, IndexError, TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"data={str(folder)!r} can't be read as a LeRobot dataset ({reason(error)})") from error
