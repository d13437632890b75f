"""Measures subjects on the memory tasks, episode by episode; goes on where it was stopped. And what a memory costs:
seconds and bytes of a video that is imagined from a start frame. There subjects take turns, so that other work on the
machine slows all of them; the median counts. Who has no memory has no memory layers either."""

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sfvgen_plan.agents.registry import POLICY_PREFIX
from sfvgen_plan.benchmarks.memory import revisit
from sfvgen_plan.benchmarks.memory.ablation import DEVELOPMENT, RULES, Ablated
from sfvgen_plan.benchmarks.memory.parts import DECISIONS, PARTS, CostRow, PlayedRow, Subject, rows_in
from sfvgen_plan.benchmarks.results.files import Rows
from sfvgen_plan.benchmarks.running.contestant import Entry
from sfvgen_plan.benchmarks.speed.measurements import machine
from sfvgen_plan.metrics.encoder import VideoEncoder
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.replay import PATIENCE

STEPS = (3, 50)
ROUNDS = 5

Work = Iterator[tuple[str, int]]  # measures what is missing, and gives the row and the episode of each


class Pace(NamedTuple):
    """Where rows go, of which episodes, at how many denoising steps a decision, and how many side by side."""

    folder: Path
    episodes: range
    sampler_steps: int
    lanes: int

    def missing(self, rows: Rows[Any], row: str) -> list[int]:
        """Those of the episodes that have no row yet."""
        return [episode for episode in self.episodes if rows.get(row, episode) is None]


def revisits(subjects: Sequence[Subject | Ablated], pace: Pace, part: str = "revisit") -> Work:
    """The missing episodes of "revisit", or of "drift", whose paths are walked round for ``revisit.LONG`` decisions; a
    true episode is played once for all rows. Raises UserError: a checkpoint of other tasks or another camera, rows that
    were made otherwise."""
    rows, long, steps = rows_in(pace.folder, part), part == "drift", pace.sampler_steps
    encoder = VideoEncoder.load(device=subjects[0].checkpoint.pipeline.device)
    away = max(revisit.away_of(subject.checkpoint) for subject in subjects)
    for subject in subjects:
        subject.checkpoint.task_index(PARTS[part].task)
        made_with = {"checkpoint": subject.checkpoint.hash, "size": subject.checkpoint.size, "away": away}
        rows.claim(subject.row, {**made_with, "sampler_steps": steps, "encoder": encoder.digest, **subject.settings})
    revisit.check_leaves(subjects[0].checkpoint)

    def work() -> Work:
        lacking = {subject.row: pace.missing(rows, subject.row) for subject in subjects}
        wanted = sorted(set().union(*lacking.values()))
        for start in range(0, len(wanted), pace.lanes):
            seeds = wanted[start : start + pace.lanes]
            true = revisit.true_episodes(subjects[0].checkpoint, seeds, away, pace.lanes)
            if long:
                true = [revisit.walked_round(episode, away, revisit.LONG) for episode in true]
            for subject in subjects:
                own = [episode for episode in true if episode.seed in lacking[subject.row]]
                learn = subject.learning(len(own))
                dreams = revisit.imagine(subject.simulator(steps), own, learn) if own else []
                for episode, dream in zip(own, dreams, strict=True):
                    score = revisit.drift_row if long else partial(revisit.revisit_row, encoder=encoder)
                    rows.add(score(subject.row, episode, dream))
                    yield subject.row, episode.seed

    return work()


def ablations(taught: Checkpoint, untaught: Checkpoint | None, pace: Pace) -> list[Any]:
    """The rows of the paper's ablation (see ``ablation``), as subjects of ``revisits``, of a checkpoint with a
    Temp-LoRA and one that was trained with ``loop=false``; None leaves its row out. Learning rates that the rows have
    not settled are chosen first, on the development episodes. Raises UserError: a checkpoint without a Temp-LoRA."""
    known = rows_in(pace.folder, "revisit")
    rules = []
    for row in RULES:
        if checkpoint := untaught if row == "no_loop" else taught:
            there = known.made_with(row)
            settled = there if there.get("checkpoint") == checkpoint.hash else {}
            rules.append(Ablated(row, checkpoint, settled.get("rate", 0.0), settled.get("steps", 0)))
    if any(not subject.steps for subject in rules):
        revisit.check_leaves(taught)
        episodes = revisit.true_episodes(taught, DEVELOPMENT, revisit.away_of(taught), len(DEVELOPMENT))
        rules = [subject if subject.steps else subject.tuned(episodes, pace.sampler_steps) for subject in rules]
    return [Subject("full", taught, True), Subject("no_temp_lora", taught, False), *rules]


def played(subjects: Sequence[Subject], pace: Pace, part: str, entry: Entry) -> Work:
    """The missing episodes of "return" or "cue", as rows ``<memory> <name of the entry>``. An agent that has no setting
    ``memory`` plays the last of the subjects, that without memory, alone. Raises UserError: a checkpoint of other
    tasks, rows that were made otherwise."""
    rows, task, agent = rows_in(pace.folder, part), PARTS[part].task, entry.agent
    if agent.startswith(POLICY_PREFIX):
        remembers = entry.kind.needs_checkpoint
    else:  # one of the user's own is said to have it
        remembers = ":" in agent or hasattr(entry.kind, "memory")
    own = {f"{subject.row} {entry.name}": subject for subject in (subjects if remembers else subjects[-1:])}
    for row, subject in own.items():
        subject.checkpoint.task_index(task)
        rows.claim(row, {"checkpoint": subject.checkpoint.hash})

    def work() -> Work:
        for row, subject in own.items():
            missing = pace.missing(rows, row)
            if not missing:
                continue
            checkpoint = subject.checkpoint
            memory = {"memory": subject.remembers} if remembers else {}
            who = replace(entry, name=row, settings={**entry.settings, **memory})
            made = who.made(checkpoint, str(checkpoint.pipeline.device))
            for played in revisit.recordings(checkpoint, task, missing, made, pace.lanes):
                seed, end = played.job.seed, played.infos[-1]
                rows.add(PlayedRow(row, seed, float(end["distance"]), bool(end["success"])))
                yield row, seed

    return work()


def costs(subjects: Sequence[Subject], folder: Path) -> list[CostRow]:
    """Measure all subjects and store their rows, in place of earlier ones of the same name and device."""
    device, rows = str(subjects[0].checkpoint.pipeline.device), []
    for steps in STEPS:
        videos = [_video(subject, steps) for subject in subjects]
        kept = [(episode, _peak_mb(video, device)) for video, episode in videos]
        times = [[video() for video, _ in videos] for _ in range(ROUNDS)]
        for subject, sizes, own in zip(subjects, kept, zip(*times, strict=True), strict=True):
            rows.append(CostRow(steps, subject.row, statistics.median(own), *sizes, machine(device)))
    rows_in(folder, "cost").add(*rows)
    return rows


def _video(subject: Subject, sampler_steps: int) -> tuple[Callable[[], float], float]:
    """Function that makes one video and says how many seconds that took, and the 10**6 bytes of an episode's memory."""
    checkpoint = subject.checkpoint if subject.remembers else _without_memory(subject.checkpoint)
    simulator = checkpoint.simulator(sampler_steps, compiled=True)
    task, starts = next(iter(subject.checkpoint.starts.items()))
    state = simulator.begin_latents(starts[:1, None].to(simulator.device), [task], [0])
    actions = torch.rand(1, DECISIONS, simulator.action_dim, generator=torch.Generator().manual_seed(0)) * 2 - 1
    kept = sum(part.nbytes for part in state.memory.tensors().values()) if state.memory is not None else 0
    if simulator.device.type == "cuda":
        for _ in range(PATIENCE + 1):  # until it is captured
            simulator.imagine(state, actions[:, :1])

    def make() -> float:
        start = time.perf_counter()
        simulator.imagine(state, actions)[0].latents.cpu()
        return time.perf_counter() - start

    return make, kept / 1e6


def _without_memory(checkpoint: Checkpoint) -> Checkpoint:
    """The same with a new network of its sizes that has no memory layers: what it costs, not what it makes."""
    network = checkpoint.pipeline.transformer
    plain = type(network).from_config({**network.config, "memory_blocks": (), "memory_beginning": ()})
    pipeline = copy.copy(checkpoint.pipeline)
    pipeline.register_modules(transformer=plain.to(network.embed.weight.device).eval())
    return replace(checkpoint, pipeline=pipeline)


def _peak_mb(video: Callable[[], float], device: str) -> float | None:
    video()  # libraries choose their kernels
    if device == "cpu":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    video()
    return torch.cuda.max_memory_allocated(device) / 1e6
