"""Policies in two simulators: the real one, and the learned one from the same start frames.

Of each episode there are four verdicts on success at any decision up to the limit:

- *real*: the real simulator's flag.
- *imagined*: the policy acts on imagined frames alone; the success head gives a decision more than ``threshold``.
- *replayed*: the actions of the real episode, imagined; same rule.
- *judged*: the success head on the real frames; same rule. What it gets wrong is the head's fault alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sfvgen_plan.agents.base import BatchAgent
from sfvgen_plan.benchmarks.fidelity.rows import FidelityRow, Moment
from sfvgen_plan.benchmarks.protocols import Protocol
from sfvgen_plan.benchmarks.results import EpisodeRow
from sfvgen_plan.benchmarks.running.episodes import Job, Recording
from sfvgen_plan.benchmarks.running.runner import Contestant, Observer, evaluate
from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics import psnr
from sfvgen_plan.metrics.readouts import PLACES, error_cm
from sfvgen_plan.simulation import Outcome
from sfvgen_plan.simulator import LearnedSimulator

logger = logging.getLogger(__name__)

THRESHOLD = 0.5
REPLAY = 2**40
"""Added to an episode's seed for its replay, so that it meets other noise than the policy's own imagination."""

READ_AT_ONCE = 64


@dataclass(frozen=True)
class Policy:
    """``kind``: "policy", "planner" (it plans in the model that it is then scored in) or "probe" (no policy at all)."""

    name: str
    agent: BatchAgent
    kind: str = "policy"


@dataclass(frozen=True)
class Imagined:
    """How a policy fared in imagination. ``first``: decision of the first success, or None; ``reward`` of the decisions
    played, on average; ``peak``: largest success probability."""

    first: int | None
    decisions: int
    reward: float
    peak: float


@dataclass(frozen=True)
class Replay:
    """What imagining a real episode's actions (T decisions) led to.

    Attributes:
        first: decision of the first imagined success, or None.
        judged: the same by the success head on the real frames.
        estimates: (T, D) read-outs of imagined frames.
        repeated: (T, D) read-outs of a second imagination of the same actions, under other noise.
        readouts: (T, D) read-outs of the real frames.
        psnr: (T,) of imagined frames; ``copied``: of the start frame.
    """

    first: int | None
    judged: int | None
    estimates: np.ndarray
    repeated: np.ndarray
    readouts: np.ndarray
    psnr: np.ndarray
    copied: np.ndarray


def compare(
    policy: Policy,
    jobs: Sequence[Job],
    protocol: Protocol,
    simulator: LearnedSimulator,
    threshold: float = THRESHOLD,
    lanes: int = 1,
) -> tuple[list[FidelityRow], list[Moment]]:
    """Play ``jobs`` in both simulators: a row for each, and its moments.

    What breaks an episode is written into its row.

    Args:
        policy: who plays.
        jobs: episodes; all are recorded.
        protocol: of the real episodes, which end with their first success (``linger`` 0).
        simulator: the learned one.
        threshold: success probability above which an imagined decision counts as success.
        lanes: real episodes side by side.

    Raises:
        UserError: what broke the very first real episode.
    """
    played, recordings = _play_real(policy, [Job(job.task, job.seed, record=True) for job in jobs], protocol, lanes)
    whole = [key for key in recordings if not played[key].error]
    rows = [_broken(policy, row, row.error) for row in played.values() if row.error]
    if not whole:
        return rows, []
    kept = [recordings[key] for key in whole]
    try:
        imagined = imagine(policy.agent, kept, simulator, protocol.max_decisions, threshold)
        replays = replay(kept, simulator, threshold)
    except UserError:
        raise
    except Exception as error:
        logger.warning("%s broke off in imagination: %r", policy.name, error)
        return rows + [_broken(policy, played[key], f"{type(error).__name__}: {error}") for key in whole], []
    moments: list[Moment] = []
    for key, recording, dreamt, again in zip(whole, kept, imagined, replays, strict=True):
        rows.append(_row(policy, played[key], dreamt, again))
        moments += _moments(policy, recording, again)
    return rows, moments


def _play_real(
    policy: Policy, jobs: Sequence[Job], protocol: Protocol, lanes: int
) -> tuple[dict[tuple[str, int], EpisodeRow], dict[tuple[str, int], Recording]]:
    recordings: dict[tuple[str, int], Recording] = {}

    class Keep(Observer):
        def recorded(self, recording: Recording) -> None:
            recordings[recording.job.task, recording.job.seed] = recording

        def failed(self, job: Job, details: str) -> None:
            logger.warning("%s broke off in %s seed %d:\n%s", policy.name, job.task, job.seed, details.rstrip())

    rows = evaluate(protocol, jobs, Contestant(policy.name, agent=policy.agent), lanes, Keep())
    return {(row.task, row.seed): row for row in rows}, recordings


def imagine(
    agent: BatchAgent, starts: Sequence[Recording], simulator: LearnedSimulator, limit: int, threshold: float
) -> list[Imagined]:
    """The agent acts on imagined frames from the start of each recording, side by side, to success or the limit.

    Start frames have been through the autoencoder, too, so all that it sees is what the model sees.
    """
    tasks, seeds = [item.job.task for item in starts], [item.job.seed for item in starts]
    state = simulator.begin(np.stack([item.frames[:1] for item in starts]), tasks, seeds)
    frames = simulator.decode(state.context[:, -1:])[:, 0]
    lanes = list(range(len(starts)))
    agent.reset(lanes, tasks, seeds)
    rewards: list[list[float]] = [[] for _ in starts]
    peaks, firsts = [0.0] * len(starts), [None] * len(starts)  # type: list[float], list[int | None]
    for decision in range(1, limit + 1):
        actions = np.asarray(agent.act(lanes, frames), np.float32)
        state, outcome = simulator.imagine(state, torch.from_numpy(actions[:, None]).to(simulator.device))
        frames = _decoded(simulator, outcome)
        success = outcome.success[:, 0].cpu().numpy()
        for place, lane in enumerate(lanes):
            rewards[lane].append(float(outcome.reward[place, 0]))
            peaks[lane] = max(peaks[lane], float(success[place]))
            if success[place] > threshold:
                firsts[lane] = decision
        going = np.flatnonzero(success <= threshold)
        if len(going) < len(lanes):
            state, frames = simulator.select(state, going.tolist()), frames[going]
            lanes = [lanes[place] for place in going]
        if not lanes:
            break
    return [
        Imagined(first, len(seen), float(np.mean(seen)), peak)
        for first, seen, peak in zip(firsts, rewards, peaks, strict=True)
    ]


def replay(recordings: Sequence[Recording], simulator: LearnedSimulator, threshold: float) -> list[Replay]:
    """Imagine the actions of real episodes, one decision a pass, twice under different noise."""
    lengths = np.array([len(item.actions) for item in recordings])
    seeds = [item.job.seed for item in recordings]
    tasks = [item.job.task for item in recordings]
    starts = np.stack([item.frames[:1] for item in recordings]).repeat(2, axis=0)
    twice = [seed + times * REPLAY for seed in seeds for times in (1, 2)]
    state = simulator.begin(starts, [task for task in tasks for _ in range(2)], twice)
    seen: list[list[tuple[np.ndarray, np.ndarray, float, float, float]]] = [[] for _ in recordings]
    for decision in range(int(lengths.max())):
        before, going = np.flatnonzero(lengths >= decision), np.flatnonzero(lengths > decision)
        if len(going) < len(before):
            state = simulator.select(state, np.flatnonzero((lengths > decision)[before].repeat(2)).tolist())
        actions = np.stack([recordings[index].actions[decision] for index in going.tolist()]).repeat(2, axis=0)
        state, outcome = simulator.imagine(state, torch.from_numpy(actions[:, None]).to(simulator.device))
        frames = _decoded(simulator, outcome)[::2]
        estimates, success = outcome.estimates[:, 0].cpu().numpy(), outcome.success[::2, 0].tolist()
        for place, index in enumerate(going.tolist()):
            truth, start = recordings[index].frames[decision + 1], recordings[index].frames[0]
            quality = float(psnr(frames[place], truth)), float(psnr(start, truth))
            seen[index].append((estimates[2 * place], estimates[2 * place + 1], success[place], *quality))
    return [_replayed(item, found, simulator, threshold) for item, found in zip(recordings, seen, strict=True)]


def _replayed(recording: Recording, seen: Sequence[tuple], simulator: LearnedSimulator, threshold: float) -> Replay:
    first, second, success, quality, copied = (np.asarray(values) for values in zip(*seen, strict=True))
    readouts, judged = _read(recording, simulator)
    return Replay(_first(success > threshold), _first(judged > threshold), first, second, readouts, quality, copied)


def _read(recording: Recording, simulator: LearnedSimulator) -> tuple[np.ndarray, np.ndarray]:
    """Read-outs (T, D) and success probabilities (T,) of the real frames after each decision."""
    pairs = np.stack([recording.frames[:-1], recording.frames[1:]], axis=1)
    estimates, success = [], []
    for start in range(0, len(pairs), READ_AT_ONCE):
        part = pairs[start : start + READ_AT_ONCE]
        outcome = simulator.read(simulator.begin(part, [recording.job.task] * len(part), [0] * len(part)))
        estimates.append(outcome.estimates[:, 0].cpu().numpy())
        success.append(outcome.success[:, 0].cpu().numpy())
    return np.concatenate(estimates), np.concatenate(success)


def _first(flags: np.ndarray) -> int | None:
    return int(flags.argmax()) + 1 if flags.any() else None


def _decoded(simulator: LearnedSimulator, outcome: Outcome) -> np.ndarray:
    """The frames (N, H, W, 3) after one decision."""
    assert outcome.latents is not None, "the learned simulator always has them"
    return simulator.decode(outcome.latents)[:, 0]


def _row(policy: Policy, real: EpisodeRow, imagined: Imagined, again: Replay) -> FidelityRow:
    return FidelityRow(
        policy=policy.name,
        kind=policy.kind,
        task=real.task,
        seed=real.seed,
        real_success=real.success_any,
        imagined_success=imagined.first is not None,
        replayed_success=again.first is not None,
        judged_success=again.judged is not None,
        real_decisions=real.decisions,
        imagined_decisions=imagined.decisions,
        real_reward=real.return_ / max(1, real.decisions),
        imagined_reward=imagined.reward,
        imagined_peak=imagined.peak,
    )


def _broken(policy: Policy, real: EpisodeRow, error: str) -> FidelityRow:
    return FidelityRow(policy.name, policy.kind, real.task, real.seed, error=" ".join(error.split()))


def _moments(policy: Policy, recording: Recording, again: Replay) -> list[Moment]:
    if recording.estimates is None:
        return []
    moments = []
    for index, real in enumerate(recording.estimates[1:]):
        imagined, repeated, readout = again.estimates[index], again.repeated[index], again.readouts[index]
        places = [float(value) for seen in (real, imagined) for place in PLACES.values() for value in seen[place]]
        apart = [
            float(error_cm(thing, *pair)) / 100 for pair in ((readout, real), (repeated, imagined)) for thing in PLACES
        ]
        quality = (round(float(again.psnr[index]), 3), round(float(again.copied[index]), 3))
        numbers = (round(value, 5) for value in (*places, *apart))
        moments.append(Moment(policy.name, recording.job.task, recording.job.seed, index + 1, *quality, *numbers))
    return moments
