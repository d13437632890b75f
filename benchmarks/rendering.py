"""CPU time of a frame: this package's renderer against Gymnasium's ``render()``.

``python -m sfvgen_plan.benchmarks.rendering`` prints rows ``name,device,value,unit,command``.
"""

from __future__ import annotations

import argparse
import csv
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sfvgen_plan.envs.metaworld import MetaworldEnv
from sfvgen_plan.envs.rendering import FrameRenderer, gl_backend

COMMAND = "python -m sfvgen_plan.benchmarks.rendering"
COLUMNS = ("name", "device", "value", "unit", "command")


def cpu_milliseconds(draw: Callable[[], object], frames: int) -> float:
    """CPU time of this process, all its threads, for one call of ``draw``: mean over ``frames`` calls."""
    start = time.process_time()
    for _ in range(frames):
        draw()
    return (time.process_time() - start) / frames * 1e3


def measure(task: str = "reach-v3", size: int = 128, camera: str = "corner4", batches: int = 6) -> dict[str, float]:
    """CPU milliseconds per frame of both ways to draw the same scene at the same size, and their ratio.

    The best of several batches counts: other work on the machine makes CPU time longer, never shorter. One renderer is
    closed before the other is made, because Gymnasium's draws into whichever OpenGL context is current.
    """
    gl_backend()
    from gymnasium.envs.mujoco.mujoco_rendering import (
        MujocoRenderer,
    )  # imports MuJoCo: only after the backend is chosen

    env = MetaworldEnv(task, pixels=False)
    env.reset(seed=0)
    theirs = MujocoRenderer(env.raw.model, env.raw.data, width=size, height=size, camera_name=camera)
    gymnasium = best_batch(lambda: theirs.render("rgb_array"), 3, batches)
    theirs.close()
    renderer = FrameRenderer(env.raw.model, size, camera)
    ours = best_batch(lambda: renderer.render(env.raw.data), 12, batches)
    renderer.close()
    return {"gymnasium_render": gymnasium, "frame_renderer": ours, "render_speedup": gymnasium / ours}


def best_batch(draw: Callable[[], object], frames: int, batches: int) -> float:
    """Smallest of ``batches`` measurements of ``frames`` calls each, after one that warms up."""
    cpu_milliseconds(draw, frames)
    return min(cpu_milliseconds(draw, frames) for _ in range(batches))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="reach-v3")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batches", type=int, default=6)
    args = parser.parse_args()
    results = measure(args.task, args.size, batches=args.batches)
    command = " ".join([COMMAND, *sys.argv[1:]])
    device = f"{processor()}, {gl_backend()}"
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, value in results.items():
        writer.writerow([name, device, f"{value:.2f}", "ratio" if name == "render_speedup" else "cpu_ms", command])


def processor() -> str:
    """Model name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
