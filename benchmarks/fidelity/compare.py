"""Policies in two simulators: the real one, and the learned one from the same start frames."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sfvgen_plan.agents.base import tell
from sfvgen_plan.benchmarks.protocols import Protocol
from sfvgen_plan.benchmarks.results.files import Rows
from sfvgen_plan.benchmarks.running.contestant import Contestant
from sfvgen_plan.benchmarks.running.episode import Job, Recording
from sfvgen_plan.benchmarks.running.play import play
from sfvgen_plan.errors import UserError
from sfvgen_plan.simulator import LearnedSimulator

logger = logging.getLogger(__name__)


FILE = "fidelity.csv"


@dataclass(frozen=True)
class FidelityRow:
    """One episode in both simulators. ``kind``: "policy", or "planner", which plans in the model that it is then scored
    in; ``decisions`` are those played, ``reward`` is the mean over them, ``imagined_peak`` the largest success
    probability."""

    policy: str
    kind: str
    task: str
    seed: int
    real_success: bool = False
    imagined_success: bool = False
    real_decisions: int = 0
    imagined_decisions: int = 0
    real_reward: float = 0.0
    imagined_reward: float = 0.0
    imagined_peak: float = 0.0
    error: str = ""


def rows_in(folder: Path) -> Rows[FidelityRow]:
    """The rows in a folder."""
    return Rows(folder / FILE, FidelityRow, ("policy", "task", "seed"))


def compare(
    policy: Contestant,
    jobs: Sequence[Job],
    protocol: Protocol,
    simulator: LearnedSimulator,
    threshold: float = 0.5,
    lanes: int | None = 1,
) -> list[FidelityRow]:
    """Play ``jobs`` in both simulators, real ones to their first success: a row for each. What breaks an episode is
    written into its row, but what breaks the very first real one is raised. ``threshold``: success probability above
    which an imagined decision succeeds; ``lanes``: real episodes side by side, None: as the machine allows."""
    from sfvgen_plan.agents.planning import PlanningAgent

    kind = "planner" if isinstance(getattr(policy.agent, "agent", policy.agent), PlanningAgent) else "policy"
    rows, whole = {}, []
    for real, recording, details in play(protocol, [replace(job, record=True) for job in jobs], policy, lanes):
        rows[real.task, real.seed] = FidelityRow(
            policy.name, kind, real.task, real.seed, real.success_any, real_decisions=real.decisions,
            real_reward=real.return_ / max(1, real.decisions), error=real.error,
        )  # fmt: skip
        if recording:
            whole.append(recording)
        else:
            logger.warning("%s broke off in %s seed %d:\n%s", policy.name, real.task, real.seed, details.rstrip())
    try:
        found = imagine(policy, whole, simulator, protocol.max_decisions, threshold) if whole else []
    except UserError:
        raise
    except Exception as error:
        logger.warning("%s broke off in imagination: %r", policy.name, error)
        broken = " ".join(f"{type(error).__name__}: {error}".split())
        return [row if row.error else replace(row, error=broken) for row in rows.values()]
    for recording, seen in zip(whole, found, strict=True):
        key = recording.job.task, recording.job.seed
        rows[key] = replace(rows[key], **seen)
    return list(rows.values())


def imagine(
    policy: Contestant, starts: Sequence[Recording], simulator: LearnedSimulator, limit: int, threshold: float
) -> list[dict[str, Any]]:
    """What a row has of imagination, for each recording: the policy acts on imagined frames from its start to success
    or the limit, side by side. Start frames have been through the autoencoder, too, so all that it sees is what the
    model sees."""
    agent = policy.agent
    assert agent is not None, "a policy sees frames"
    tasks, seeds = [start.job.task for start in starts], [start.job.seed for start in starts]
    texts = [simulator.checkpoint.told(start.job.task, start.about) for start in starts]
    state = simulator.begin(np.stack([start.frames[:1] for start in starts]), tasks, seeds, texts)
    lanes = np.arange(len(starts))
    agent.reset(lanes.tolist(), tasks, seeds)
    tell(agent, lanes.tolist(), [start.about for start in starts])
    rewards: list[list[float]] = [[] for _ in starts]
    chances: list[list[float]] = [[] for _ in starts]
    for _ in range(limit):
        actions = np.asarray(agent.act(lanes.tolist(), simulator.decode(state.latents)), np.float32)
        state, outcome = simulator.imagine(state, torch.from_numpy(actions[:, None]).to(simulator.device))
        success = outcome.success[:, 0].double().cpu().numpy()
        for lane, reward, chance in zip(lanes.tolist(), outcome.reward[:, 0].tolist(), success.tolist(), strict=True):
            rewards[lane].append(reward)
            chances[lane].append(chance)
        going = np.flatnonzero(success <= threshold)
        if len(going) < len(lanes):
            lanes, state = lanes[going], simulator.select(state, going.tolist())
        if not len(lanes):
            break
    return [
        {
            "imagined_success": max(seen) > threshold,
            "imagined_decisions": len(seen),
            "imagined_reward": float(np.mean(own)),
            "imagined_peak": max(seen),
        }
        for own, seen in zip(rewards, chances, strict=True)
    ]
