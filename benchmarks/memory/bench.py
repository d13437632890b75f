"""Measures the rows of the ablation on the memory tasks, episode by episode; goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_plan.benchmarks.memory import returning as memory_return
from sfvgen_plan.benchmarks.memory import revisit as memory_revisit
from sfvgen_plan.benchmarks.memory.rows import FEATURES, RETURN, REVISIT, VIDEO, MemoryRows
from sfvgen_plan.benchmarks.memory.videos import comparison
from sfvgen_plan.data.seeds import FIRST_TRAINING_SEED
from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.rows import simulator_of_row
from sfvgen_plan.metrics.toolbox import Toolbox
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.model.pipeline import CONTEXT_WINDOW
from sfvgen_plan.video import write_mp4

WITH, WITHOUT = "full", "no_temp_lora"
"""The rows that the videos show."""

OnEpisode = Callable[[str, int], None]
"""Told of (row, episode) when it has been measured."""


def check_episodes(episodes: range) -> None:
    """Refuse seeds that belong to training data.

    Raises:
        UserError: it reaches them.
    """
    if episodes.stop > FIRST_TRAINING_SEED:
        raise UserError(f"seed={episodes.start} with episodes={len(episodes)} reaches training data; use lower seeds")


class RevisitBench:
    """``memory/revisit`` for one checkpoint.

    Args:
        checkpoint: trained on the task.
        folder: of the rows.
        toolbox: the metrics.
        sampler_steps: denoising steps of a chunk.
        chunk: decisions imagined, and learned from, at a time.
        lanes: episodes side by side.
        without: who imagines the videos' picture without memory, a checkpoint for the same frames; None: the same one.

    Raises:
        UserError: a checkpoint of other tasks or another camera, a chunk that doesn't fit.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        folder: Path,
        toolbox: Toolbox,
        sampler_steps: int = 3,
        chunk: int = memory_revisit.CHUNK,
        lanes: int = 1,
        without: Checkpoint | None = None,
    ) -> None:
        most = CONTEXT_WINDOW - checkpoint.card.context_frames
        if not 1 <= chunk <= most:
            raise UserError(f"chunk={chunk} doesn't fit into one pass; give 1 to {most}")
        self.checkpoint, self.folder, self.toolbox = checkpoint, folder, toolbox
        self.sampler_steps, self.chunk, self.lanes = sampler_steps, chunk, lanes
        self.without = without or checkpoint
        self.without.task_index(memory_revisit.NAME)
        if (self.without.size, self.without.camera) != (checkpoint.size, checkpoint.camera):
            raise UserError(
                f"without={str(self.without.path)!r} was trained on frames of {self.without.size} pixels from camera "
                f"{self.without.camera!r}, not of {checkpoint.size} from {checkpoint.camera!r}; give another checkpoint"
            )
        self.env = memory_revisit.revisit_env(checkpoint)
        self.rows, self.details = MemoryRows(folder, REVISIT), MemoryRows(folder, VIDEO)

    def close(self) -> None:
        """Free the simulator's renderer."""
        self.env.close()

    def claim(self, rows: Sequence[str]) -> None:
        """Refuse to go on with rows that were made otherwise. Raises: UserError."""
        for row in rows:
            self.rows.claim(row, self._settings())

    def missing(self, row: str, episodes: range) -> list[int]:
        """Episodes of the row that are still to be measured, or lack what can now be measured."""
        had = {"cosine_revisit": self.toolbox.frame_features, "scene_cuts": self.toolbox.scene_cuts}
        return self.rows.missing(row, episodes, [column for column, metric in had.items() if metric is not None])

    def measure(self, rows: Sequence[str], episodes: range, on_episode: OnEpisode) -> None:
        """Measure what is missing. A true episode is played once for all rows."""
        missing = {row: set(self.missing(row, episodes)) for row in rows}
        simulators = {row: simulator_of_row(self.checkpoint, row, self.sampler_steps) for row in rows}
        wanted = [seed for seed in episodes if any(seed in missing[row] for row in rows)]
        for start in range(0, len(wanted), self.lanes):
            away = memory_revisit.away_of(self.chunk)
            played = [memory_revisit.true_episode(self.env, seed, away) for seed in wanted[start : start + self.lanes]]
            for row in rows:
                lacking = [episode for episode in played if episode.seed in missing[row]]
                dreams = memory_revisit.imagine_all(simulators[row], lacking, self.chunk) if lacking else []
                for episode, dream in zip(lacking, dreams, strict=True):
                    self._store(row, episode, dream)
                    on_episode(row, episode.seed)
        self.rows.sort()
        self.details.sort()

    def film(self, seeds: Sequence[int]) -> list[Path]:
        """Videos of these episodes: first visit, revisit, imagined with and without memory. They are named for who
        imagined; those there are kept."""
        made = []
        by = "-".join(dict.fromkeys([self.checkpoint.hash, self.without.hash]))
        for seed in seeds:
            path = self.folder / f"memory_revisit_seed{seed}_{by}.mp4"
            if not path.exists():
                episode = memory_revisit.true_episode(self.env, seed, memory_revisit.away_of(self.chunk))
                dreams = [
                    memory_revisit.imagine(simulator_of_row(who, row, self.sampler_steps), episode, self.chunk)
                    for who, row in ((self.checkpoint, WITH), (self.without, WITHOUT))
                ]
                write_mp4(path, comparison(episode, *dreams))
            made.append(path)
        return made

    def features(self, row: str) -> dict[str, np.ndarray]:
        """The clips' features of all episodes of the row, see ``memory_revisit.set_features``."""
        found: dict[str, list[np.ndarray]] = {}
        for seed in self.rows.values(row, "psnr_revisit_db"):
            path = self._features_file(row, seed)
            if path.exists():
                with np.load(path, allow_pickle=False) as file:
                    for name in file.files:
                        found.setdefault(name, []).append(file[name])
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def _settings(self) -> dict[str, Any]:
        return {
            "checkpoint": self.checkpoint.hash,
            "size": self.checkpoint.size,
            "sampler_steps": self.sampler_steps,
            "chunk": self.chunk,
            "away": memory_revisit.away_of(self.chunk),
            "encoder": self.toolbox.encoder,
        }

    def _store(self, row: str, episode: memory_revisit.TrueEpisode, dream: memory_revisit.Dream) -> None:
        scores = asdict(memory_revisit.score(episode, dream, self.toolbox))
        self._save_features(row, episode.seed, memory_revisit.set_features(episode, dream, self.toolbox))
        self.details.add(row, episode.seed, scores)
        self.rows.add(row, episode.seed, scores)  # last: it says that everything of the episode is there

    def _features_file(self, row: str, seed: int) -> Path:
        return self.folder / FEATURES / f"{row}-{seed}.npz"

    def _save_features(self, row: str, seed: int, features: Mapping[str, np.ndarray]) -> None:
        if not features:
            return
        path = self._features_file(row, seed)
        path.parent.mkdir(exist_ok=True)
        staged = path.with_suffix(".tmp")
        with staged.open("wb") as file:
            np.savez(file, **features)  # type: ignore[arg-type]
        staged.replace(path)


class ReturnBench:
    """``memory/return`` for one checkpoint and an agent that plans in it.

    Args:
        checkpoint: trained on the task.
        folder: of the rows.
        agent: see ``memory_return.agent_of_row``; ``settings`` are changes to its settings, ``label`` names both.
        lanes: episodes side by side.

    Raises:
        UserError: a checkpoint of other tasks, or an agent without a memory.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        folder: Path,
        agent: str,
        settings: Mapping[str, Any],
        label: str,
        lanes: int = 1,
    ) -> None:
        memory_return.check_remembers(agent)
        self.checkpoint, self.agent, self.settings, self.label = checkpoint, agent, settings, label
        self.lanes = lanes
        self.envs = [memory_return.return_env(checkpoint)]
        self.rows = MemoryRows(folder, RETURN)

    def close(self) -> None:
        """Free the simulators' renderers."""
        for env in self.envs:
            env.close()

    def claim(self, rows: Sequence[str]) -> None:
        """Refuse to go on with rows that were made otherwise. Raises: UserError."""
        for row in rows:
            self.rows.claim(row, {"checkpoint": self.checkpoint.hash, "agent": self.label})

    def missing(self, row: str, episodes: range) -> list[int]:
        """Episodes of the row that are still to be played."""
        return self.rows.missing(row, episodes)

    def measure(self, rows: Sequence[str], episodes: range, on_episode: OnEpisode) -> None:
        """Play what is missing."""
        for row in rows:
            missing = self.missing(row, episodes)
            if not missing:
                continue
            agent = memory_return.agent_of_row(self.agent, row, self.checkpoint, self.settings)
            while len(self.envs) < min(self.lanes, len(missing)):
                self.envs.append(memory_return.return_env(self.checkpoint))
            for seed, scores in memory_return.play(agent, self.envs, missing):
                self.rows.add(row, seed, asdict(scores))
                on_episode(row, seed)
        self.rows.sort()
