"""Measures subjects on the memory tasks, episode by episode; goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sfvgen_plan.benchmarks.memory import playing, revisit
from sfvgen_plan.benchmarks.memory.rows import CUE, RETURN, REVISIT, VIDEO, MemoryRows
from sfvgen_plan.benchmarks.memory.subjects import Subject
from sfvgen_plan.envs.memory import cue_task, return_task
from sfvgen_plan.metrics.toolbox import Toolbox

PLAYED = {RETURN: return_task.NAME, CUE: cue_task.NAME}
"""Files of what agents play in the true simulator, and the task of each."""

Measured = Iterator[tuple[str, int]]
"""Row and episode of what has been measured, one after the other."""


def revisits(
    subjects: Sequence[Subject], folder: Path, toolbox: Toolbox, episodes: range, sampler_steps: int, lanes: int
) -> Measured:
    """Measure the episodes of ``memory/revisit`` that ``folder`` lacks, ``lanes`` side by side; a true episode is
    played once for all rows.

    Raises:
        UserError: a checkpoint of other tasks or another camera, rows that were made otherwise.
    """
    rows, details = MemoryRows(folder, REVISIT), MemoryRows(folder, VIDEO)
    away = max(revisit.away_of(subject.checkpoint) for subject in subjects)
    for subject in subjects:
        subject.checkpoint.task_index(revisit.NAME)
        made_with = {"checkpoint": subject.checkpoint.hash, "size": subject.checkpoint.size, "away": away}
        rows.claim(subject.row, made_with | {"sampler_steps": sampler_steps, "encoder": toolbox.encoder})
    metrics = {"cosine_revisit": toolbox.frame_features, "scene_cuts": toolbox.scene_cuts}
    needed = [column for column, metric in metrics.items() if metric is not None]
    env = revisit.revisit_env(subjects[0].checkpoint)

    def measured() -> Measured:
        missing = {subject.row: set(rows.missing(subject.row, episodes, needed)) for subject in subjects}
        wanted = sorted(set().union(*missing.values()))
        with closing(env):
            for start in range(0, len(wanted), lanes):
                played = [revisit.true_episode(env, seed, away) for seed in wanted[start : start + lanes]]
                for subject in subjects:
                    own = [episode for episode in played if episode.seed in missing[subject.row]]
                    dreams = revisit.imagine(subject.simulator(sampler_steps), own) if own else []
                    for episode, dream in zip(own, dreams, strict=True):
                        scores = revisit.score(episode, dream, toolbox, subject.checkpoint.card.readouts)
                        details.add(subject.row, episode.seed, scores)
                        rows.add(subject.row, episode.seed, scores)  # last: it says that all of the episode is there
                        yield subject.row, episode.seed

    return measured()


def played(
    part: str,
    subjects: Sequence[Subject],
    folder: Path,
    agent: str,
    settings: Mapping[str, Any],
    label: str,
    episodes: range,
    lanes: int,
) -> Measured:
    """Play the episodes of a task that ``folder`` lacks, ``lanes`` side by side. Rows are called ``<memory> <label>``.

    Args:
        part: one of ``PLAYED``.
        agent: plays; ``settings`` are changes to its settings, ``label`` names both. One that has no setting ``memory``
            plays the last of the subjects, that without memory, alone.

    Raises:
        UserError: a checkpoint of other tasks, rows that were made otherwise.
    """
    rows, task = MemoryRows(folder, part), PLAYED[part]
    own = list(subjects) if playing.may_remember(agent) else list(subjects[-1:])
    for subject in own:
        subject.checkpoint.task_index(task)
        rows.claim(f"{subject.row} {label}", {"checkpoint": subject.checkpoint.hash})

    def measured() -> Measured:
        for subject in own:
            row = f"{subject.row} {label}"
            missing = rows.missing(row, episodes)
            envs = [playing.real_env(subject.checkpoint, task) for _ in range(min(lanes, len(missing)))]
            player = playing.agent_of(agent, subject, settings) if missing else None
            for seed, scores in playing.play(player, envs, missing):
                rows.add(row, seed, scores)
                yield row, seed
            for env in envs:
                env.close()

    return measured()
