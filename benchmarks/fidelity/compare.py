"""Policies in two simulators: the real one, and the learned one from the same start frames. A study plays all episodes
that a folder lacks, and reports all that it has."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sfvgen_plan.agents.base import tell
from sfvgen_plan.benchmarks.fidelity.policies import FidelitySettings
from sfvgen_plan.benchmarks.protocols import Protocol
from sfvgen_plan.benchmarks.results.files import Rows, write_text
from sfvgen_plan.benchmarks.running.contestant import Contestant, Entry
from sfvgen_plan.benchmarks.running.episode import Job, Recording
from sfvgen_plan.benchmarks.running.play import play
from sfvgen_plan.console import Output
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.simulator import LearnedSimulator

logger = logging.getLogger(__name__)

FILE = "fidelity.csv"
BLOCKS = {"cpu": 8, "other": 64}  # episodes that are imagined side by side and stored together
ENDED = 0.5  # probability above which an imagined episode has ended by itself, as in the imagined environment


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
    """What a row has of imagination, for each recording: the policy acts on imagined frames from its start to success,
    the task's own end or the limit, side by side. Start frames have been through the autoencoder, too, so all that it
    sees is what the model sees."""
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
        over = success > threshold
        if outcome.termination is not None:
            over |= outcome.termination[:, 0].double().cpu().numpy() > ENDED
        going = np.flatnonzero(~over)
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


def study(
    out: Output,
    protocol: Protocol,
    checkpoint: Checkpoint,
    policies: Sequence[Entry],
    settings: FidelitySettings,
    folder: Path | None = None,
    lanes: int | None = None,
) -> None:
    """Play what is missing in the folder and report all that is there, also when it ends early. ``protocol``: see
    ``policies.rules``; ``folder``: of rows and report, None: that of the checkpoint in ``runs``; ``lanes``: real
    episodes side by side, None: as the machine allows. Raises UserError: a folder with rows that were made otherwise,
    or what broke the first episode."""
    record = {
        "checkpoint": checkpoint.hash,
        "protocol": protocol.id,
        "rules": replace(protocol, first_seed=0, episodes=1, tasks=()).hash,
        "max_decisions": protocol.max_decisions,
        "threshold": settings.threshold,
        "sampler_steps": settings.sampler_steps,
    }
    device = str(checkpoint.pipeline.device)
    block = BLOCKS.get(device, BLOCKS["other"])
    made = [policy.made(checkpoint, device, checkpoint.card.action_dim) for policy in policies]
    rows = rows_in(folder or Path("runs") / f"fidelity-{checkpoint.hash}")
    rows.claim("", record)
    simulator = checkpoint.simulator(settings.sampler_steps)
    episodes = [(task, seed) for task in protocol.tasks for seed in protocol.seeds]
    done = {(row.policy, row.task, row.seed) for row in rows if not row.error}
    missing = [(policy, [episode for episode in episodes if (policy.name, *episode) not in done]) for policy in made]
    left, total = sum(len(found) for _, found in missing), len(made) * len(episodes)
    if left < total:
        out.note(f"{total - left} of {total} episodes are there already")
    try:
        with out.progress("episodes", total=left) as bar:
            for policy, found in missing:
                bar.describe(policy.name)
                for start in range(0, len(found), block):
                    jobs = [Job(task, seed) for task, seed in found[start : start + block]]
                    rows.add(*compare(policy, jobs, protocol, simulator, settings.threshold, lanes))
                    bar.advance(len(jobs))
    finally:
        if len(rows):
            report(out, rows, record)


def report(out: Output, rows: Rows[FidelityRow], record: dict[str, Any]) -> None:
    """Write the page and its picture, and show it."""
    from rich.markdown import Markdown

    from sfvgen_plan.benchmarks.fidelity.report import page, scatter, summarise

    folder = rows.path.parent
    try:
        found = summarise(list(rows))
    except ValueError as error:
        out.note(f"no summary yet: {error}; rows: {folder}")
        return
    text = page(found, record)
    write_text(folder / "fidelity.md", text)
    write_text(folder / "scatter.svg", scatter(found))
    out.result({**record, **asdict(found), "folder": str(folder)}, Markdown(text.rpartition("![")[0]))
    out.note(f"rows, page and picture: {folder}")
