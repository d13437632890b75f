"""Measures subjects on the memory tasks, episode by episode; goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sfvgen_plan.benchmarks.memory import playing, revisit
from sfvgen_plan.benchmarks.memory.ablation import DEVELOPMENT, RULES, Ablated
from sfvgen_plan.benchmarks.memory.rows import CUE, DRIFT, RETURN, REVISIT, VIDEO, MemoryRows
from sfvgen_plan.benchmarks.memory.subjects import Subject
from sfvgen_plan.devices import cpu_cores
from sfvgen_plan.envs.memory import cue_task, return_task
from sfvgen_plan.metrics.toolbox import Toolbox
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.pool import open_pool

PLAYED = {RETURN: return_task.NAME, CUE: cue_task.NAME}
"""Files of what agents play in the true simulator, and the task of each."""

Measured = Iterator[tuple[str, int]]
"""Row and episode of what has been measured, one after the other."""


def revisits(
    subjects: Sequence[Subject | Ablated],
    folder: Path,
    toolbox: Toolbox,
    episodes: range,
    sampler_steps: int,
    lanes: int,
    long: bool = False,
) -> Measured:
    """Measure the episodes of ``memory/revisit`` that ``folder`` lacks, ``lanes`` side by side; a true episode is
    played once for all rows. ``long``: their paths are walked round for ``revisit.LONG`` imagined decisions.

    Raises:
        UserError: a checkpoint of other tasks or another camera, rows that were made otherwise.
    """
    files = [MemoryRows(folder, name) for name in ((DRIFT,) if long else (VIDEO, REVISIT))]
    rows, score = files[-1], revisit.drift_score if long else revisit.score
    away = max(revisit.away_of(subject.checkpoint) for subject in subjects)
    for subject in subjects:
        subject.checkpoint.task_index(revisit.NAME)
        made_with = {"checkpoint": subject.checkpoint.hash, "size": subject.checkpoint.size, "away": away}
        measured_with = {"sampler_steps": sampler_steps, "encoder": toolbox.encoder}
        rows.claim(subject.row, {**made_with, **measured_with, **subject.settings})
    metrics = {"cosine_revisit": toolbox.frame_features, "scene_cuts": toolbox.scene_cuts}
    needed = [column for column, metric in metrics.items() if metric is not None and not long]
    make = revisit.maker_of(subjects[0].checkpoint)

    def measured() -> Measured:
        missing = {subject.row: set(rows.missing(subject.row, episodes, needed)) for subject in subjects}
        wanted = sorted(set().union(*missing.values()))
        with closing(open_pool(make, min(cpu_cores(), lanes))) as pool:
            for start in range(0, len(wanted), lanes):
                true = revisit.true_episodes(pool, wanted[start : start + lanes], away)
                if long:
                    true = [revisit.walked_round(episode, away, revisit.LONG) for episode in true]
                for subject in subjects:
                    own = [episode for episode in true if episode.seed in missing[subject.row]]
                    learn = subject.learning(len(own))
                    dreams = revisit.imagine(subject.simulator(sampler_steps), own, learn) if own else []
                    for episode, dream in zip(own, dreams, strict=True):
                        scores = score(episode, dream, toolbox, subject.checkpoint.card.readouts)
                        for file in files:  # that which says that all of the episode is there comes last
                            file.add(subject.row, episode.seed, scores)
                        yield subject.row, episode.seed

    return measured()


def ablations(taught: Checkpoint, untaught: Checkpoint | None, folder: Path, sampler_steps: int) -> list[Any]:
    """The rows of the paper's ablation (see ``ablation``), as subjects of ``revisits``. Learning rates that ``folder``
    has not settled are chosen first, on the development episodes.

    Args:
        taught: a checkpoint with a Temp-LoRA. untaught: one that was trained with ``loop=false``; None leaves its row
            out.

    Raises:
        UserError: a checkpoint without a Temp-LoRA.
    """
    known = MemoryRows(folder, REVISIT)
    rules = []
    for row in RULES:
        if checkpoint := untaught if row == "no_loop" else taught:
            there = known.settings(row)
            settled = there if there.get("checkpoint") == checkpoint.hash else {}
            rules.append(Ablated(row, checkpoint, settled.get("rate", 0.0), settled.get("steps", 0)))
    if any(not subject.steps for subject in rules):
        with closing(open_pool(revisit.maker_of(taught), min(cpu_cores(), len(DEVELOPMENT)))) as pool:
            episodes = revisit.true_episodes(pool, DEVELOPMENT, revisit.away_of(taught))
        rules = [subject if subject.steps else subject.tuned(episodes, sampler_steps) for subject in rules]
    return [Subject("full", taught, True), Subject("no_temp_lora", taught, False), *rules]


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
