"""Does what the model is unsure of foretell where it errs? Signals against the true error of imagined plans.

``python -m sfvgen_plan.benchmarks.fidelity.penalty`` plays experts, disturbed experts, random actions and plans of the
default agent (each executed to its end) in the real simulator, imagines every stretch of ``--horizon`` decisions
from the real frames before it, and writes the rank correlation of each signal with each error at its end. Signals
(MMBench2, arXiv 2606.27326): variance between seeds, instability between sampling steps, round trip of the autoencoder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sfvgen_plan.agents.base import PlanCost
from sfvgen_plan.agents.expert import expert_of
from sfvgen_plan.agents.registry import make_agent
from sfvgen_plan.arguments import add_model_arguments, non_negative_int, positive_int, run_script
from sfvgen_plan.benchmarks.protocols import Protocol, load_protocol
from sfvgen_plan.benchmarks.results.files import csv_text, write_text
from sfvgen_plan.benchmarks.running.episodes import Recording
from sfvgen_plan.benchmarks.running.runner import Contestant, Observer, evaluate, jobs_for
from sfvgen_plan.console import Output, table
from sfvgen_plan.devices import resolve_device
from sfvgen_plan.metrics.readouts import error_cm

if TYPE_CHECKING:
    from sfvgen_plan.imagination import Imagination
    from sfvgen_plan.model.checkpoint import Checkpoint
    from sfvgen_plan.simulator import LearnedSimulator

COLUMNS = ("played_by", "signal", "error", "stretches", "rank_correlation")
ERRORS = ("latents", "hand_cm", "object_cm")
FUTURES = 4


class NoisyExpert:
    """The simulator's expert with Gaussian noise on its actions (an ``EnvAgent``)."""

    def __init__(self, noise: float) -> None:
        self.noise = noise

    def reset(self, task: str, seed: int) -> None:
        self._expert, self._random = expert_of(task), np.random.default_rng(seed)
        self._expert.reset(task, seed)

    def act(self, env: Any) -> np.ndarray:
        action = self._expert.act(env)
        return np.clip(action + self.noise * self._random.standard_normal(len(action)), -1.0, 1.0).astype(np.float32)

    def stats(self) -> PlanCost:
        return PlanCost()


def contestants(checkpoint: Checkpoint, device: str, horizon: int) -> Iterator[Contestant]:
    """Who plays."""
    yield Contestant("expert", env_agent=partial(NoisyExpert, 0.0))
    yield Contestant("noisy expert", env_agent=partial(NoisyExpert, 0.7))
    yield Contestant("random", agent=make_agent("random"))  # type: ignore[arg-type]
    settings = {"horizon": horizon, "replan_every": horizon}
    yield Contestant("planner", agent=make_agent("default", checkpoint, device, 0, settings))  # type: ignore[arg-type]


def recorded(contestant: Contestant, protocol: Protocol, lanes: int) -> list[Recording]:
    """Its episodes, which go on after success."""
    kept: list[Recording] = []

    class Keep(Observer):
        def recorded(self, recording: Recording) -> None:
            kept.append(recording)

    rules = replace(protocol, linger=protocol.max_decisions)
    jobs = [replace(job, record=True) for job in jobs_for(rules.tasks, rules.seeds)]
    evaluate(rules, jobs, contestant, lanes, Keep())
    return [recording for recording in kept if len(recording.actions) == protocol.max_decisions]


def measured(
    simulators: Sequence[LearnedSimulator], played: Sequence[Recording], horizon: int
) -> dict[str, np.ndarray]:
    """Signals and errors (stretches,) of recordings of one length, imagined side by side.

    Args:
        simulators: one that takes one sampling step, and one that takes two.
        played: the recordings.
        horizon: decisions of a stretch.
    """
    simulator = simulators[0]
    frames, actions = np.stack([item.frames for item in played]), np.stack([item.actions for item in played])
    truth = np.stack([[info["estimates"] for info in item.infos] for item in played])
    names = simulator.checkpoint.card.readouts
    state = simulator.begin(frames[:, :1], [item.job.task for item in played], [item.job.seed for item in played])
    found: list[dict[str, np.ndarray]] = []
    for start in range(0, actions.shape[1] - horizon + 1, horizon):
        stretch = slice(start, start + horizon)
        plan = torch.from_numpy(actions[:, stretch]).to(simulator.device)
        values, estimates, latents = signals(simulators, state, plan)
        shown = frames[:, start + 1 : start + 1 + horizon]
        real, last = simulator.encode(shown[:, -1]), truth[:, start + horizon]
        values["latents"] = distance(latents, real).cpu().numpy()
        values |= {f"{thing}_cm": error_cm(thing, estimates, last, names) for thing in ("hand", "object")}
        found.append(values)
        state = simulator.observe(state, shown, plan)
    return {name: np.concatenate([values[name] for values in found]) for name in found[0]}


def signals(
    simulators: Sequence[LearnedSimulator], state: Imagination, plan: Tensor
) -> tuple[dict[str, np.ndarray], np.ndarray, Tensor]:
    """What each signal says of a plan (N, H, A) at its end, (N,), and what is imagined there: the estimates (N, D) and
    latents (N, C, h, w) of the first future."""
    simulator, twice = simulators
    count = len(plan)
    seeds = state.seed.repeat_interleave(FUTURES) * FUTURES + torch.arange(FUTURES, device=plan.device).repeat(count)
    forks = simulator.reseed(simulator.fork(state, FUTURES), seeds)
    _, outcome = simulator.imagine(forks, plan.repeat_interleave(FUTURES, 0))
    assert outcome.latents is not None and outcome.features is not None
    latents, features, estimates, value = (
        part[:, -1].float().unflatten(0, (count, FUTURES))
        for part in (outcome.latents, outcome.features, outcome.estimates, outcome.value)
    )
    _, other = twice.imagine(simulator.select(forks, range(0, len(forks), FUTURES)), plan)
    assert other.latents is not None and other.features is not None
    first = latents[:, 0]
    again = simulator.encode(simulator.decode(first))
    said = {
        "seeds": latents.std(1).flatten(1).mean(1),
        "seeds, features": features.std(1).mean(1),
        "seeds, hand and object": estimates.std(1)[:, [0, 1, 2, 4, 5, 6]].norm(dim=1),
        "seeds, value": value.std(1),
        "steps": distance(first, other.latents[:, -1]),
        "steps, features": (features[:, 0] - other.features[:, -1]).norm(dim=1),
        "steps, hand and object": (estimates[:, 0] - other.estimates[:, -1])[:, [0, 1, 2, 4, 5, 6]].norm(dim=1),
        "round trip": distance(first, again),
    }
    return {name: values.cpu().numpy() for name, values in said.items()}, estimates[:, 0].cpu().numpy(), first


def distance(one: Tensor, other: Tensor) -> Tensor:
    """Root mean square difference (N,) of latents (N, C, h, w)."""
    return (one - other.to(one.device)).float().flatten(1).square().mean(1).sqrt()


def correlations(measures: Mapping[str, Mapping[str, np.ndarray]]) -> list[dict[str, Any]]:
    """A row for each player, and for all of them together, with each signal and error."""
    from scipy.stats import spearmanr

    together = {name: np.concatenate([of[name] for of in measures.values()]) for name in next(iter(measures.values()))}
    rows = []
    for player, values in [*measures.items(), ("all", together)]:
        for signal in values.keys() - set(ERRORS):
            for error in ERRORS:
                found = spearmanr(values[signal], values[error]).statistic
                fields = (player, signal, error, len(values[error]), round(float(found), 3))
                rows.append(dict(zip(COLUMNS, fields, strict=True)))
    return sorted(rows, key=lambda row: [str(row[name]) for name in COLUMNS[:3]])


def run(args: argparse.Namespace) -> None:
    """Play, measure, write the rows and show those of all players."""
    from sfvgen_plan.model.checkpoint import load_checkpoint

    out, device = Output.of(args), resolve_device(args.device)
    checkpoint = load_checkpoint(args.checkpoint, device)
    protocol = load_protocol(args.suite)
    protocol = protocol.variant(max_decisions=args.decisions, first_seed=args.seed, episodes=args.episodes)
    protocol = replace(protocol, tasks=tuple(args.task or protocol.tasks))
    checkpoint.check_fits(protocol.tasks, protocol, f"protocol {protocol.id!r}", "give another checkpoint")
    simulators = [checkpoint.simulator(steps) for steps in (1, 2)]
    measures = {}
    for contestant in contestants(checkpoint, device, args.horizon):
        out.note(f"playing: {contestant.name}")
        measures[contestant.name] = measured(simulators, recorded(contestant, protocol, args.lanes), args.horizon)
    rows = correlations(measures)
    write_text(args.out, csv_text([COLUMNS, *([row[name] for name in COLUMNS] for row in rows)]))
    shown = [tuple(str(row[name]) for name in COLUMNS[1:]) for row in rows if row["played_by"] == "all"]
    out.result({"rows": str(args.out), "correlations": rows}, table("Rank correlations", COLUMNS[1:], shown))


def main(arguments: Sequence[str] | None = None) -> int:
    program = "python -m sfvgen_plan.benchmarks.fidelity.penalty"
    parser = argparse.ArgumentParser(prog=program, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--suite", default="metaworld-10", help="protocol (default: metaworld-10)")
    parser.add_argument("--task", action="append", help="only this task of it; may be given several times")
    parser.add_argument("--episodes", type=positive_int, default=3, help="of each task and player (default: 3)")
    parser.add_argument("--seed", type=non_negative_int, default=1000, help="of the first episode (default: 1000)")
    parser.add_argument("--decisions", type=positive_int, default=24, help="of an episode (default: 24)")
    parser.add_argument("--horizon", type=positive_int, default=6, help="decisions of a stretch (default: 6)")
    parser.add_argument("--lanes", type=positive_int, default=1, help="episodes side by side (default: 1)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/rows/penalty.csv"), metavar="FILE.csv")
    add_model_arguments(parser)
    return run_script(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
