"""Measures subjects on the memory tasks, episode by episode; goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sfvgen_plan.agents.registry import POLICY_PREFIX, make_agent, needs_checkpoint, settings_of
from sfvgen_plan.benchmarks.memory import revisit
from sfvgen_plan.benchmarks.memory.ablation import DEVELOPMENT, RULES, Ablated
from sfvgen_plan.benchmarks.memory.rows import CUE, DRIFT, RETURN, REVISIT, PlayedRow, rows_in
from sfvgen_plan.benchmarks.memory.subjects import Subject
from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.results.files import Rows
from sfvgen_plan.benchmarks.running.episodes import Job, Recording
from sfvgen_plan.benchmarks.running.runner import Contestant, Observer, evaluate
from sfvgen_plan.devices import cpu_cores
from sfvgen_plan.envs.memory import cue_task, return_task
from sfvgen_plan.metrics.encoder import VideoEncoder
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.pool import open_pool

PLAYED = {RETURN: return_task.NAME, CUE: cue_task.NAME}
"""Files of what agents play in the true simulator, and the task of each."""

Tell = Callable[[str, int], None]
"""Told the row and episode of what has been measured."""

Work = Callable[[Tell], None]
"""Measures what is missing."""


def revisits(
    subjects: Sequence[Subject | Ablated], folder: Path, episodes: range, sampler_steps: int, lanes: int, name: str
) -> Work:
    """The episodes of ``memory/revisit`` that ``folder`` lacks, ``lanes`` side by side; a true episode is played once
    for all rows. ``name`` is the file, REVISIT or DRIFT, where paths are walked round for ``revisit.LONG`` decisions.

    Raises:
        UserError: a checkpoint of other tasks or another camera, rows that were made otherwise.
    """
    rows, long = rows_in(folder, name), name == DRIFT
    encoder = VideoEncoder.load(device=subjects[0].checkpoint.pipeline.device)
    away = max(revisit.away_of(subject.checkpoint) for subject in subjects)
    for subject in subjects:
        subject.checkpoint.task_index(revisit.NAME)
        made_with = {"checkpoint": subject.checkpoint.hash, "size": subject.checkpoint.size, "away": away}
        measured_with = {"sampler_steps": sampler_steps, "encoder": encoder.digest}
        rows.claim(subject.row, {**made_with, **measured_with, **subject.settings})
    make = revisit.maker_of(subjects[0].checkpoint)

    def work(tell: Tell) -> None:
        lacking = {subject.row: _missing(rows, subject.row, episodes) for subject in subjects}
        wanted = sorted(set().union(*lacking.values()))
        with closing(open_pool(make, min(cpu_cores(), lanes))) as pool:
            for start in range(0, len(wanted), lanes):
                true = revisit.true_episodes(pool, wanted[start : start + lanes], away)
                if long:
                    true = [revisit.walked_round(episode, away, revisit.LONG) for episode in true]
                for subject in subjects:
                    own = [episode for episode in true if episode.seed in lacking[subject.row]]
                    learn = subject.learning(len(own))
                    dreams = revisit.imagine(subject.simulator(sampler_steps), own, learn) if own else []
                    for episode, dream in zip(own, dreams, strict=True):
                        score = revisit.drift_row if long else partial(revisit.revisit_row, encoder=encoder)
                        rows.add(score(subject.row, episode, dream))
                        tell(subject.row, episode.seed)

    return work


def ablations(taught: Checkpoint, untaught: Checkpoint | None, folder: Path, sampler_steps: int) -> list[Any]:
    """The rows of the paper's ablation (see ``ablation``), as subjects of ``revisits``. Learning rates that ``folder``
    has not settled are chosen first, on the development episodes.

    Args:
        taught: a checkpoint with a Temp-LoRA. untaught: one that was trained with ``loop=false``; None leaves its row
            out.

    Raises:
        UserError: a checkpoint without a Temp-LoRA.
    """
    known = rows_in(folder, REVISIT)
    rules = []
    for row in RULES:
        if checkpoint := untaught if row == "no_loop" else taught:
            there = known.made_with(row)
            settled = there if there.get("checkpoint") == checkpoint.hash else {}
            rules.append(Ablated(row, checkpoint, settled.get("rate", 0.0), settled.get("steps", 0)))
    if any(not subject.steps for subject in rules):
        with closing(open_pool(revisit.maker_of(taught), min(cpu_cores(), len(DEVELOPMENT)))) as pool:
            episodes = revisit.true_episodes(pool, DEVELOPMENT, revisit.away_of(taught))
        rules = [subject if subject.steps else subject.tuned(episodes, sampler_steps) for subject in rules]
    return [Subject("full", taught, True), Subject("no_temp_lora", taught, False), *rules]


def played(
    name: str,
    subjects: Sequence[Subject],
    folder: Path,
    agent: str,
    settings: Mapping[str, Any],
    label: str,
    episodes: range,
    lanes: int,
) -> Work:
    """The episodes of a task that ``folder`` lacks, ``lanes`` side by side. Rows are called ``<memory> <label>``.

    Args:
        name: one of ``PLAYED``.
        agent: plays; ``settings`` are changes to its settings, ``label`` names both. One that has no setting ``memory``
            plays the last of the subjects, that without memory, alone.

    Raises:
        UserError: a checkpoint of other tasks, rows that were made otherwise.
    """
    rows, task, remembers = rows_in(folder, name), PLAYED[name], may_remember(agent)
    own = {f"{subject.row} {label}": subject for subject in (subjects if remembers else subjects[-1:])}
    for row, subject in own.items():
        subject.checkpoint.task_index(task)
        rows.claim(row, {"checkpoint": subject.checkpoint.hash})

    def work(tell: Tell) -> None:
        for row, subject in own.items():
            checkpoint = subject.checkpoint
            memory = {"memory": subject.remembers} if remembers else {}
            device = str(checkpoint.pipeline.device)
            make: Any = partial(make_agent, agent, checkpoint, device, 0, {**settings, **memory})
            jobs = [Job(task, seed, record=True) for seed in _missing(rows, row, episodes)]
            rules = load_protocol("memory")
            rules = rules.variant(size=checkpoint.size, camera=checkpoint.camera, repeat=checkpoint.repeat)
            rules = replace(rules, linger=rules.max_decisions)
            if jobs:
                who = Contestant(row, env_agent=make) if settings_of(agent).acts_on_env else Contestant(row, make())
                evaluate(rules, jobs, who, lanes, _Keep(rows, row, tell))

    return work


def may_remember(agent: str) -> bool:
    """Whether the agent has a setting ``memory``, as every ``module:factory`` is said to, and ``sb3:`` agents that see
    frames through a checkpoint."""
    if agent.startswith(POLICY_PREFIX):
        return needs_checkpoint(agent)
    return ":" in agent or hasattr(settings_of(agent), "memory")


class _Keep(Observer):
    """Stores how each episode ends."""

    def __init__(self, rows: Rows, row: str, tell: Tell) -> None:
        self.rows, self.row, self.tell = rows, row, tell

    def failed(self, job: Job, details: str) -> None:
        raise RuntimeError(f"{job.task} seed {job.seed} broke off:\n{details}")

    def recorded(self, recording: Recording) -> None:
        end, seed = recording.infos[-1], recording.job.seed
        self.rows.add(PlayedRow(self.row, seed, float(end["distance"]), bool(end["success"])))
        self.tell(self.row, seed)


def _missing(rows: Rows, row: str, episodes: range) -> list[int]:
    """Those of the episodes that have no row yet."""
    return [episode for episode in episodes if rows.get(row, episode) is None]
