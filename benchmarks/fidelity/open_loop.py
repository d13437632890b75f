"""How long do imagined episodes stay true? Open-loop rollouts from the start of held-out episodes.

``python -m sfvgen_plan.benchmarks.fidelity.open_loop --data DATASET`` imagines each episode from its first frame under
the actions that were executed in it, f_g decisions in one pass, and compares every frame and state read-out with the
truth. Rows are means over the episodes of a task. Copying the start frame is what a model has to beat. Of recorded
RLBench episodes the test split is played; they end at success, and count as far as they go.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sfvgen_plan.arguments import add_output_arguments, exit_code, positive_int
from sfvgen_plan.benchmarks.fidelity.open_loop_rows import Row, kind_of, summarise, summary_text
from sfvgen_plan.benchmarks.results.files import csv_text, write_text
from sfvgen_plan.console import Output
from sfvgen_plan.data.episodes import EpisodeArrays, load_episodes, read_metadata
from sfvgen_plan.data.minari_writer import COLLECTION_KEY, METADATA_FILE
from sfvgen_plan.data.rlbench import is_recording, load_recordings
from sfvgen_plan.devices import resolve_device
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import HELD_OUT_EVERY, held_out_episodes
from sfvgen_plan.metrics import psnr
from sfvgen_plan.model.checkpoint import load_checkpoint
from sfvgen_plan.simulator import LearnedSimulator

MEASURES = ("psnr_db", "copy_psnr_db", "object_error_cm", "hand_error_cm", "success_accuracy", "solved", "solved_seen")
"""Of every decision of a rollout. The object's error means something only where the read-outs have an object."""
HAND, OBJECT = slice(0, 3), slice(4, 7)
"""Places in ``sfvgen_plan.simulation.STATE_NAMES``; the hand's are the same for RLBench."""

RESULTS = Path("benchmarks/rows")


@dataclass(frozen=True)
class RealEpisodes:
    """E real episodes of T decisions; after the end of a shorter one, its last moment repeats.

    Attributes:
        tasks: task names (E).
        seeds: (E,) int64; the noise of a rollout depends on them alone.
        frames: (E, T+1, H, W, 3) uint8.
        actions: (E, T, A) float32 in [-1, 1].
        estimates: (E, T+1, D) float32, true values of the read-outs.
        success: (E, T) bool, solved at this decision.
        lengths: (E,) int64, decisions, at most T.
    """

    tasks: list[str]
    seeds: np.ndarray
    frames: np.ndarray
    actions: np.ndarray
    estimates: np.ndarray
    success: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.tasks)

    def part(self, start: int, count: int) -> RealEpisodes:
        """``count`` episodes from ``start`` on."""
        cut = slice(start, start + count)
        arrays = (self.seeds, self.frames, self.actions, self.estimates, self.success, self.lengths)
        return RealEpisodes(self.tasks[cut], *(array[cut] for array in arrays))


def choose(
    episodes: EpisodeArrays, decisions: int, per_task: int | None = None, held_out_only: bool = True
) -> RealEpisodes:
    """The first ``per_task`` held-out episodes of each task that are at least ``decisions`` long, cut to that length.
    Of tasks whose episodes end at success, shorter ones are taken, too.

    Raises:
        UserError: there is none.
    """
    allowed = held_out_episodes(episodes.task).numpy() if held_out_only else np.ones(len(episodes), bool)
    if not kind_of(episodes.tasks).ends_early:
        allowed &= episodes.lengths >= decisions
    chosen: list[int] = []
    for task in range(len(episodes.tasks)):
        chosen += np.flatnonzero(allowed & (episodes.task == task))[:per_task].tolist()
    if not chosen:
        raise UserError(
            f"decisions={decisions}: the data has no {'held-out ' if held_out_only else ''}episode of that length "
            f"(one in {HELD_OUT_EVERY} of a task is held out); give fewer --decisions, more data, or --all"
        )
    # Place of every moment in the flat arrays; past the end of an episode its last.
    lengths = np.minimum(episodes.lengths[chosen], decisions)
    moments = episodes.episode_start[chosen][:, None] + np.minimum(np.arange(decisions + 1), lengths[:, None])
    steps = episodes.action_start[chosen][:, None] + np.minimum(np.arange(decisions), lengths[:, None] - 1)
    return RealEpisodes(
        [episodes.tasks[task] for task in episodes.task[chosen]],
        episodes.seed[chosen],
        episodes.frames[moments],
        episodes.actions[steps],
        episodes.estimates[moments],
        episodes.success[steps],
        lengths,
    )


def roll_out(simulator: LearnedSimulator, real: RealEpisodes, f_g: int) -> dict[str, np.ndarray]:
    """Each of ``MEASURES`` (E, T) after every decision, imagined ``f_g`` in one pass; the last pass may be shorter."""
    state = simulator.begin(real.frames[:, :1], real.tasks, real.seeds.tolist())
    parts: dict[str, list[np.ndarray]] = {name: [] for name in MEASURES}
    actions = torch.as_tensor(real.actions, device=simulator.device)
    for start in range(0, actions.shape[1], f_g):
        state, outcome = simulator.imagine(state, actions[:, start : start + f_g])
        assert outcome.latents is not None
        imagined = simulator.decode(outcome.latents)
        cut = slice(start + 1, start + 1 + imagined.shape[1])
        truth = real.frames[:, cut]
        error = outcome.estimates.cpu().numpy() - real.estimates[:, cut]
        parts["psnr_db"].append(psnr(imagined, truth))
        parts["copy_psnr_db"].append(psnr(np.broadcast_to(real.frames[:, :1], truth.shape), truth))
        parts["object_error_cm"].append(100 * np.linalg.norm(error[..., OBJECT], axis=-1))
        parts["hand_error_cm"].append(100 * np.linalg.norm(error[..., HAND], axis=-1))
        solved = real.success[:, start : start + imagined.shape[1]]
        said = outcome.success.float().cpu().numpy() > 0.5
        parts["success_accuracy"].append(said == solved)
        parts["solved"].append(solved)
        parts["solved_seen"].append(said & solved)
    return {name: np.concatenate(values, axis=1) for name, values in parts.items()}


def measure(
    simulator: LearnedSimulator,
    real: RealEpisodes,
    chunks: Sequence[int],
    batch: int = 32,
    on_rollouts: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Rows for every task, f_g and decision. ``on_rollouts(f_g, episodes)`` is told of finished ones."""
    kind = kind_of(real.tasks)
    rows: list[Row] = []
    names = np.array(real.tasks)
    for f_g in chunks:
        done = []
        for start in range(0, len(real), batch):
            part = real.part(start, batch)
            done.append(roll_out(simulator, part, f_g))
            if on_rollouts is not None:
                on_rollouts(f_g, len(part))
        values = {name: np.concatenate([part[name] for part in done]) for name in kind.measures.values()}
        for task in dict.fromkeys(real.tasks):
            for decision in range(real.actions.shape[1]):
                going_on = (names == task) & (real.lengths > decision)
                if not going_on.any():
                    break
                row: Row = {"task": task, "f_g": f_g, "decision": decision + 1}
                if kind.ends_early:
                    row["episodes"] = int(going_on.sum())
                for column, name in kind.measures.items():
                    row[column] = round(float(values[name][going_on, decision].mean()), 3)
                rows.append(row)
    return rows


def held_out_data(path: Path, limit: int | None, everything: bool) -> tuple[EpisodeArrays, bool]:
    """The episodes in a folder, and whether only those are to be used that training holds out of them."""
    if not (path / METADATA_FILE).is_file() and is_recording(path):
        return load_recordings(path, limit_per_task=limit, split="test"), False
    episodes = load_episodes(path, limit_per_task=limit and limit * (1 if everything else HELD_OUT_EVERY))
    tested = read_metadata(path)[COLLECTION_KEY].get("split") == "test"
    return episodes, not (everything or tested)


def run(args: argparse.Namespace) -> None:
    """Measure, write the rows and say how it went."""
    out = Output.of(args)
    checkpoint = load_checkpoint(args.checkpoint, resolve_device(args.device))
    out.note(f"reading {args.data}")
    episodes, held_out_only = held_out_data(args.data, args.episodes, args.all)
    kind = kind_of(episodes.tasks)
    checkpoint.check_fits(episodes.tasks, episodes, "the data", "collect data with the former")
    real = choose(episodes, args.decisions or kind.decisions, args.episodes, held_out_only)
    simulator = checkpoint.simulator(
        args.sampler_steps, context_frames=args.context_frames, anchor_every=args.anchor_every
    )
    with out.progress("rollouts", total=len(real) * len(args.chunks)) as bar:

        def on_rollouts(f_g: int, count: int) -> None:
            bar.describe(f"rollouts, f_g {f_g}")
            bar.advance(count)

        rows = measure(simulator, real, args.chunks, args.batch, on_rollouts)
    file = args.out or RESULTS / kind.file
    write_text(file, csv_text([kind.columns, *([row[name] for name in kind.columns] for row in rows)]))
    summary = summarise(rows)
    out.result({"rows": str(file), "episodes": len(real), "summary": summary}, summary_text(summary))
    out.note(f"{len(real)} episodes; rows: {file}")


def main(arguments: Sequence[str] | None = None) -> int:
    program = "python -m sfvgen_plan.benchmarks.fidelity.open_loop"
    parser = argparse.ArgumentParser(prog=program, description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="dataset written by `sfvgen-plan collect`, or RLBench recordings"
    )
    parser.add_argument("--checkpoint", metavar="PATH", help="folder, or name in the package (default: metaworld10)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.csv", help=f"(default: open_loop.csv or open_loop_rlbench.csv in {RESULTS})"
    )
    parser.add_argument("--decisions", type=positive_int, help="length of a rollout (default: 35, for RLBench 20)")
    parser.add_argument("--chunks", type=positive_int, nargs="+", default=[1, 4, 8], help="f_g (default: 1 4 8)")
    parser.add_argument("--episodes", type=positive_int, metavar="N", help="at most N per task (default: all)")
    parser.add_argument(
        "--all", action="store_true", help="use every episode; only for data that the model was not trained on"
    )
    parser.add_argument("--sampler-steps", type=positive_int, default=3, help="denoising steps of a pass (default: 3)")
    parser.add_argument(
        "--context-frames", type=positive_int, help="clean frames of a pass (default: as in the checkpoint's training)"
    )
    parser.add_argument(
        "--anchor-every",
        type=positive_int,
        metavar="N",
        help="decisions imagined from the same clean frames; 1: passes go on from the last (default: as in training)",
    )
    parser.add_argument("--batch", type=positive_int, default=32, help="episodes side by side (default: 32)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    add_output_arguments(parser)
    args = parser.parse_args(arguments)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
