"""Measures the rows of the ablation on the memory tasks, episode by episode; goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_plan.benchmarks.memory import returning, revisit
from sfvgen_plan.benchmarks.memory.rows import RETURN, REVISIT, VIDEO, MemoryRows
from sfvgen_plan.benchmarks.memory.simulators import WITH, WITHOUT, simulator_of
from sfvgen_plan.benchmarks.memory.videos import comparison
from sfvgen_plan.errors import UserError
from sfvgen_plan.io import atomic
from sfvgen_plan.metrics.toolbox import Toolbox
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.model.pipeline import CONTEXT_WINDOW
from sfvgen_plan.video import write_mp4

FEATURES = "memory_features"
"""Folder of the clips' features, which distances between sets of videos are computed from."""

OnEpisode = Callable[[str, int], None]
"""Told of (row, episode) when it has been measured."""


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
        chunk: int = revisit.CHUNK,
        lanes: int = 1,
        without: Checkpoint | None = None,
    ) -> None:
        most = CONTEXT_WINDOW - checkpoint.card.context_frames
        if not 1 <= chunk <= most:
            raise UserError(f"chunk={chunk} doesn't fit into one pass; give 1 to {most}")
        self.checkpoint, self.folder, self.toolbox = checkpoint, folder, toolbox
        self.sampler_steps, self.chunk, self.lanes = sampler_steps, chunk, lanes
        self.without = without or checkpoint
        self.without.task_index(revisit.NAME)
        if (self.without.size, self.without.camera) != (checkpoint.size, checkpoint.camera):
            raise UserError(
                f"without={str(self.without.path)!r} was trained on frames of {self.without.size} pixels from camera "
                f"{self.without.camera!r}, not of {checkpoint.size} from {checkpoint.camera!r}; give another checkpoint"
            )
        self.env = revisit.revisit_env(checkpoint)
        self.rows, self.details = MemoryRows(folder, REVISIT), MemoryRows(folder, VIDEO)

    def close(self) -> None:
        """Free the simulator's renderer."""
        self.env.close()

    def claim(self, rows: Sequence[str]) -> None:
        """Refuse to go on with rows that were made otherwise. Raises: UserError."""
        settings = {
            "checkpoint": self.checkpoint.hash,
            "size": self.checkpoint.size,
            "sampler_steps": self.sampler_steps,
            "chunk": self.chunk,
            "away": revisit.away_of(self.chunk),
            "encoder": self.toolbox.encoder,
        }
        for row in rows:
            self.rows.claim(row, settings)

    def missing(self, row: str, episodes: Sequence[int]) -> list[int]:
        """Episodes of the row that are still to be measured, or lack what can now be measured."""
        had = {"cosine_revisit": self.toolbox.frame_features, "scene_cuts": self.toolbox.scene_cuts}
        return self.rows.missing(row, episodes, [column for column, metric in had.items() if metric is not None])

    def measure(self, rows: Sequence[str], episodes: range, on_episode: OnEpisode) -> None:
        """Measure what is missing. A true episode is played once for all rows."""
        missing = {row: set(self.missing(row, episodes)) for row in rows}
        simulators = {row: simulator_of(self.checkpoint, row, self.sampler_steps) for row in rows}
        wanted = [seed for seed in episodes if any(seed in missing[row] for row in rows)]
        for start in range(0, len(wanted), self.lanes):
            played = [self._episode(seed) for seed in wanted[start : start + self.lanes]]
            for row in rows:
                lacking = [episode for episode in played if episode.seed in missing[row]]
                dreams = revisit.imagine(simulators[row], lacking, self.chunk) if lacking else []
                for episode, dream in zip(lacking, dreams, strict=True):
                    self._store(row, episode, dream)
                    on_episode(row, episode.seed)

    def film(self, seeds: Sequence[int]) -> list[Path]:
        """Videos of these episodes: first visit, revisit, imagined with and without memory. They are named for who
        imagined; those there are kept."""
        made = []
        by = "-".join(dict.fromkeys([self.checkpoint.hash, self.without.hash]))
        for seed in seeds:
            path = self.folder / f"memory_revisit_seed{seed}_{by}.mp4"
            if not path.exists():
                episode = self._episode(seed)
                simulators = [
                    simulator_of(who, row, self.sampler_steps)
                    for who, row in ((self.checkpoint, WITH), (self.without, WITHOUT))
                ]
                dreams = [revisit.imagine(simulator, [episode], self.chunk)[0] for simulator in simulators]
                write_mp4(path, comparison(episode, *dreams))
            made.append(path)
        return made

    def features(self, row: str) -> dict[str, np.ndarray]:
        """The clips' features of all episodes of the row, see ``revisit.set_features``."""
        found: dict[str, list[np.ndarray]] = {}
        for seed in self.rows.values(row, "psnr_revisit_db"):
            path = self._features_file(row, seed)
            if path.exists():
                with np.load(path, allow_pickle=False) as file:
                    for name in file.files:
                        found.setdefault(name, []).append(file[name])
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def _episode(self, seed: int) -> revisit.TrueEpisode:
        return revisit.true_episode(self.env, seed, revisit.away_of(self.chunk))

    def _store(self, row: str, episode: revisit.TrueEpisode, dream: revisit.Dream) -> None:
        scores = asdict(revisit.score(episode, dream, self.toolbox))
        features: Mapping[str, Any] = revisit.set_features(episode, dream, self.toolbox)
        if features:
            with atomic(self._features_file(row, episode.seed), "out") as staged:
                np.savez(staged, **features)
        self.details.add(row, episode.seed, scores)
        self.rows.add(row, episode.seed, scores)  # last: it says that everything of the episode is there

    def _features_file(self, row: str, seed: int) -> Path:
        return self.folder / FEATURES / f"{row}-{seed}.npz"


class ReturnBench:
    """``memory/return`` for one checkpoint and an agent that plans in it.

    Args:
        checkpoint: trained on the task.
        folder: of the rows.
        agent: see ``returning.agent_of_row``; ``settings`` are changes to its settings, ``label`` names both.
        lanes: episodes side by side.

    Raises:
        UserError: a checkpoint of other tasks, or an agent without memory.
    """

    def __init__(
        self, checkpoint: Checkpoint, folder: Path, agent: str, settings: Mapping[str, Any], label: str, lanes: int = 1
    ) -> None:
        returning.check_remembers(agent)
        self.checkpoint, self.folder, self.lanes = checkpoint, folder, lanes
        self.agent, self.settings, self.label = agent, settings, label
        self.envs = [returning.return_env(checkpoint)]
        self.rows = MemoryRows(folder, RETURN)

    def close(self) -> None:
        """Free the simulators' renderers."""
        for env in self.envs:
            env.close()

    def claim(self, rows: Sequence[str]) -> None:
        """Refuse to go on with rows that were made otherwise. Raises: UserError."""
        for row in rows:
            self.rows.claim(row, {"checkpoint": self.checkpoint.hash, "agent": self.label})

    def missing(self, row: str, episodes: Sequence[int]) -> list[int]:
        """Episodes of the row that are still to be played."""
        return self.rows.missing(row, episodes)

    def measure(self, rows: Sequence[str], episodes: range, on_episode: OnEpisode) -> None:
        """Play what is missing."""
        for row in rows:
            missing = self.missing(row, episodes)
            if not missing:
                continue
            agent = returning.agent_of_row(self.agent, row, self.checkpoint, self.settings)
            while len(self.envs) < min(self.lanes, len(missing)):
                self.envs.append(returning.return_env(self.checkpoint))
            for seed, scores in returning.play(agent, self.envs, missing):
                self.rows.add(row, seed, asdict(scores))
                on_episode(row, seed)
