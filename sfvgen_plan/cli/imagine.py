"""``sfvgen-plan imagine``: the same actions in the real environment and in the imagination, side by side."""

from __future__ import annotations

import dataclasses
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfvgen_plan.arguments import add_model_arguments, non_negative_int, positive_int
from sfvgen_plan.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

    from sfvgen_plan.envs.simulators import RealSimulator
    from sfvgen_plan.model.checkpoint import Checkpoint
    from sfvgen_plan.simulator import LearnedSimulator

HELP = "act in the real environment, imagine the same actions open loop, write both as a video"

DECISIONS = 35
REAL_PROTOCOL = "metaworld-10"
"""Where Metaworld's environment comes from; its frames are those of the checkpoint."""


def add_arguments(parser: ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "--task", required=True, help="a task of the checkpoint, such as reach-v3, memory/return or rlbench/open_drawer"
    )
    parser.add_argument("--agent", default="expert", help="who acts in the real environment (default: expert)")
    parser.add_argument(
        "--actions",
        type=Path,
        metavar="FILE.npy",
        help="actions (N, 4), for RLBench (N, 7), in [-1, 1], instead of an agent",
    )
    parser.add_argument("--decisions", type=positive_int, help=f"how many (default: all of FILE.npy, or {DECISIONS})")
    parser.add_argument("--chunk", type=positive_int, default=8, help="decisions imagined in one pass (default: 8)")
    parser.add_argument("--sampler-steps", type=positive_int, default=3, help="denoising steps of a pass (default: 3)")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="scene, and random state of the imagination")
    add_model_arguments(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("imagine.mp4"), metavar="FILE.mp4", help="default: imagine.mp4"
    )


def run(args: Namespace) -> int:
    """Act, imagine, compare, write."""
    from sfvgen_plan.agents.registry import check_agent
    from sfvgen_plan.console import Output
    from sfvgen_plan.devices import resolve_device
    from sfvgen_plan.envs.rendering import gl_backend
    from sfvgen_plan.envs.simulators import RLBENCH
    from sfvgen_plan.video import check_video_path, write_mp4

    out = Output.of(args)
    task, real_protocol, simulator = played(args.task)
    check_agent(args.agent)
    check_video_path(args.out, "out")
    actions = None if args.actions is None else read_actions(args.actions, args.decisions, simulator.action_dim)
    if simulator is not RLBENCH:  # which draws in a process of its own
        gl_backend()

    from sfvgen_plan.model.checkpoint import load_checkpoint

    device = resolve_device(args.device)
    checkpoint = load_checkpoint(args.checkpoint, device)
    checkpoint.task_index(task)
    check_chunk(args.chunk, checkpoint)
    decisions = len(actions) if actions is not None else args.decisions or DECISIONS
    with out.progress("decisions", total=2 * decisions) as bar:
        if actions is None:
            agent = agent_actions(args.agent, checkpoint, device, task, args.seed)
        else:
            given = iter(actions)
            agent = lambda env, frame: next(given)  # noqa: E731
        real, executed = act(checkpoint, real_protocol, task, args.seed, decisions, agent, bar)
        learned = checkpoint.simulator(sampler_steps=args.sampler_steps, anchor_every=None)
        imagined = imagine(learned, real[0], executed, task, args.seed, args.chunk, bar)
    scores = compare(real, imagined, args.chunk)
    write_mp4(args.out, side_by_side(task, args.seed, real, imagined))
    data = {"task": task, "seed": args.seed, "checkpoint": checkpoint.hash, "video": str(args.out), "chunks": scores}
    out.result(data, table(scores, task))
    out.note(f"video: {args.out}")
    return 0


def played(task: str) -> tuple[str, str, RealSimulator]:
    """The task's full name, the protocol under whose rules it is played, and where.

    Raises:
        UserError: unknown task.
    """
    from sfvgen_plan.benchmarks.protocols import protocol_for_task
    from sfvgen_plan.envs.simulators import METAWORLD, simulator_of

    simulator = simulator_of(task)
    name = simulator.canonical(task)
    return name, REAL_PROTOCOL if simulator is METAWORLD else protocol_for_task(name).id, simulator


def read_actions(path: Path, decisions: int | None, numbers: int = 4) -> np.ndarray:
    """The first ``decisions`` actions (N, numbers) of a NumPy file.

    Raises:
        UserError: unreadable, wrong shape, not finite, outside of [-1, 1], or too few.
    """
    import numpy as np

    try:
        actions = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise UserError(f"actions={str(path)!r} can't be read; give a file written by numpy.save") from None
    if not isinstance(actions, np.ndarray) or actions.ndim != 2 or actions.shape[1] != numbers or not len(actions):
        shape = getattr(actions, "shape", None)
        raise UserError(
            f"actions={str(path)!r} has shape {shape}; give (N, {numbers}): an action of {numbers} numbers per decision"
        )
    if not np.issubdtype(actions.dtype, np.number) or not np.isfinite(actions).all() or np.abs(actions).max() > 1:
        raise UserError(f"actions={str(path)!r} has values that are no finite numbers in [-1, 1]; mend the file")
    if decisions is not None and decisions > len(actions):
        raise UserError(f"decisions={decisions} is more than the {len(actions)} actions of {str(path)!r}; give fewer")
    return actions[:decisions].astype(np.float32)


def check_chunk(chunk: int, checkpoint: Checkpoint) -> None:
    """UserError if the model can't generate so many frames in one pass."""
    from sfvgen_plan.model.pipeline import CONTEXT_WINDOW

    most = CONTEXT_WINDOW - checkpoint.card.context_frames
    if chunk > most:
        raise UserError(f"chunk={chunk} is more than the {most} new frames that fit into one pass; give fewer")


def agent_actions(name: str, checkpoint: Checkpoint, device: str, task: str, seed: int) -> Callable[[Any, Any], Any]:
    """A function (environment, frame) -> action of the agent's episode."""
    import numpy as np

    from sfvgen_plan.agents.registry import acts_on_env, make_agent

    agent: Any = make_agent(name, checkpoint, device)
    if acts_on_env(name):
        agent.reset(task, seed)
        return lambda env, frame: agent.act(env)
    agent.reset([0], [task], [seed])
    return lambda env, frame: np.asarray(agent.act([0], frame[None]))[0]


def act(
    checkpoint: Checkpoint,
    protocol_id: str,
    task: str,
    seed: int,
    decisions: int,
    agent: Callable[[Any, Any], Any],
    bar: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """Real frames (decisions + 1, H, W, 3) uint8 and the actions (decisions, A) between them."""
    import numpy as np

    from sfvgen_plan.benchmarks.protocols import load_protocol
    from sfvgen_plan.benchmarks.running.episodes import make_environment

    protocol = dataclasses.replace(
        load_protocol(protocol_id),
        max_decisions=decisions,
        size=checkpoint.size,
        camera=checkpoint.camera,
        repeat=checkpoint.repeat,
    )
    env = make_environment(protocol, task)
    try:
        frame, _ = env.reset(seed=seed)
        frames, actions = [frame], []
        for _ in range(decisions):
            action = agent(env.unwrapped, frame)
            frame = env.step(action)[0]
            frames.append(frame)
            actions.append(action)
            bar.advance()
    finally:
        env.close()
    return np.stack(frames), np.asarray(actions, dtype=np.float32)


def imagine(
    simulator: LearnedSimulator, start: np.ndarray, actions: np.ndarray, task: str, seed: int, chunk: int, bar: Any
) -> np.ndarray:
    """Frames (decisions, H, W, 3) uint8 imagined open loop from the frame ``start``, ``chunk`` decisions a pass."""
    import numpy as np
    import torch

    state = simulator.begin(start[None, None], [task], [seed])
    planned = torch.from_numpy(actions).to(simulator.device)
    frames = []
    for first in range(0, len(actions), chunk):
        given = planned[None, first : first + chunk]
        state, outcome = simulator.imagine(state, given)
        assert outcome.latents is not None
        frames.append(simulator.decode(outcome.latents)[0])
        bar.advance(given.shape[1])
    return np.concatenate(frames)


def compare(real: np.ndarray, imagined: np.ndarray, chunk: int) -> list[dict[str, float]]:
    """Mean PSNR of each chunk, of the imagination and of a copy of the start frame."""
    import numpy as np

    from sfvgen_plan.metrics import psnr

    quality = psnr(real[1:], imagined)
    copied = psnr(real[1:], np.broadcast_to(real[:1], imagined.shape))
    return [
        {
            "first_decision": first + 1,
            "last_decision": min(first + chunk, len(imagined)),
            "psnr_db": float(quality[first : first + chunk].mean()),
            "copy_psnr_db": float(copied[first : first + chunk].mean()),
        }
        for first in range(0, len(imagined), chunk)
    ]


def side_by_side(task: str, seed: int, real: np.ndarray, imagined: np.ndarray) -> Iterator[np.ndarray]:
    """Frames of the video: real above, imagined below."""
    import numpy as np

    from sfvgen_plan.metrics import psnr
    from sfvgen_plan.video import caption, enlarge

    for decision in range(len(real)):
        below = imagined[decision - 1] if decision else real[0]
        quality = f"PSNR {psnr(real[decision], below):.1f} dB" if decision else "starts from the real frame"
        above = caption(enlarge(real[decision]), f"{task}   seed {seed}   decision {decision}   real")
        yield np.concatenate([above, caption(enlarge(below), f"imagined   {quality}")])


def table(scores: list[dict[str, float]], task: str) -> Any:
    """The scores for a terminal."""
    from rich.table import Table

    table = Table(title=f"{task} · imagined open loop")
    for column in ("decisions", "PSNR dB", "PSNR dB of the start frame"):
        table.add_column(column, justify="right")
    for score in scores:
        decisions = f"{score['first_decision']:.0f}-{score['last_decision']:.0f}"
        table.add_row(decisions, f"{score['psnr_db']:.1f}", f"{score['copy_psnr_db']:.1f}")
    return table
