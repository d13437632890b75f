"""What the rows of a fidelity run say: how well success in imagination tells real success; as figures, and as a
Markdown page with a picture, whose tables the page of results shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sfvgen_plan.benchmarks.fidelity.compare import FidelityRow
from sfvgen_plan.benchmarks.report.markdown import rendered
from sfvgen_plan.benchmarks.statistics import RESAMPLES, Estimate, agreement, wilson

COLOURS = ("#2563a8", "#c2530a", "#1b7f5c", "#9a3f86", "#8a6d00", "#3e7f9c", "#b3263a", "#5a5f6a")

Agreement = dict[str, Estimate | None]  # of each of statistics.MEASURES; None where it is not defined


@dataclass(frozen=True)
class PolicyScore:
    """Success of a policy in both simulators, and its mean reward of a decision."""

    policy: str
    kind: str
    real: Estimate
    imagined: Estimate
    real_reward: float
    imagined_reward: float


@dataclass(frozen=True)
class Fidelity:
    """What is reported. Scores are compared over the (task, seed) that every policy has played to the end;
    ``broken_policies`` have none; ``agreement`` is that of success, with planners and without, and that of rewards;
    ``bias`` is the mean of imagined - real success."""

    episodes_per_policy: int
    tasks: list[str]
    errors: int
    broken_policies: list[str]
    policies: list[PolicyScore]
    agreement: Agreement
    agreement_without_planners: Agreement
    agreement_of_rewards: Agreement
    bias: float


def summarise(rows: Sequence[FidelityRow], resamples: int = RESAMPLES) -> Fidelity:
    """What the rows add up to. Raises ValueError: no episode that every policy has played."""
    of: dict[str, dict[tuple[str, int], FidelityRow]] = {}
    for row in rows:
        if not row.error:
            of.setdefault(row.policy, {})[row.task, row.seed] = row
    shared = sorted(set.intersection(*(set(found) for found in of.values()))) if of else []
    if not shared:
        raise ValueError("no episode was played by every policy")
    real, imagined, earned, promised = (
        np.array([[getattr(found[key], name) for key in shared] for found in of.values()], float)
        for name in ("real_success", "imagined_success", "real_reward", "imagined_reward")
    )
    kinds = [found[shared[0]].kind for found in of.values()]
    own = [place for place, kind in enumerate(kinds) if kind != "planner"]
    tasks = [task for task, _ in shared]
    return Fidelity(
        episodes_per_policy=len(shared),
        tasks=list(dict.fromkeys(tasks)),
        errors=sum(bool(row.error) for row in rows),
        broken_policies=list(dict.fromkeys(row.policy for row in rows if row.policy not in of)),
        policies=[
            PolicyScore(
                name,
                kind,
                _share(real[place]),
                _share(imagined[place]),
                float(earned[place].mean()),
                float(promised[place].mean()),
            )
            for place, (name, kind) in enumerate(zip(of, kinds, strict=True))
        ],
        agreement=agreement(imagined, real, tasks, resamples),
        agreement_without_planners=agreement(imagined[own], real[own], tasks, resamples) if own else {},
        agreement_of_rewards=agreement(promised, earned, tasks, resamples),
        bias=float((imagined - real).mean()),
    )


def _share(won: np.ndarray) -> Estimate:
    return wilson(int(won.sum()), len(won))


def page(found: Fidelity, record: Mapping[str, Any]) -> str:
    """The report as Markdown; ``record`` is that of the run."""
    return rendered("fidelity/page.md.jinja", found=found, record=record) + "\n"


def scatter(found: Fidelity) -> str:
    """Imagined over real success as an SVG file that stands alone, in light and in dark."""
    places = {"x": lambda share: round(56 + 390 * share, 1), "y": lambda share: round(406 - 390 * share, 1)}
    return rendered("fidelity/scatter.svg.jinja", policies=found.policies, colours=COLOURS, **places) + "\n"
