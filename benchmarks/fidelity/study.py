"""A fidelity study: all episodes that a folder lacks are played, and all that it has are reported."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sfvgen_plan.benchmarks.fidelity.compare import FidelityRow, compare, rows_in
from sfvgen_plan.benchmarks.fidelity.policies import FidelitySettings
from sfvgen_plan.benchmarks.fidelity.report import page, scatter, summarise
from sfvgen_plan.benchmarks.protocols import Protocol
from sfvgen_plan.benchmarks.results.files import Rows, write_text
from sfvgen_plan.benchmarks.running.contestant import Entry
from sfvgen_plan.benchmarks.running.episode import Job
from sfvgen_plan.console import Output
from sfvgen_plan.model.checkpoint import Checkpoint

BLOCKS = {"cpu": 8, "other": 64}  # episodes that are imagined side by side and stored together


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

    folder = rows.path.parent
    try:
        found = summarise(list(rows))
    except ValueError as error:
        out.note(f"no summary yet: {error}; rows: {folder}")
        return
    text = page(found, record)
    write_text(folder / "fidelity.md", text)
    write_text(folder / "scatter.svg", scatter(found))
    out.result({**record, **asdict(found), "folder": str(folder)}, Markdown(text))
    out.note(f"rows, page and picture: {folder}")
