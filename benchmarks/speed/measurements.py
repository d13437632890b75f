"""What is measured: one function for each number, and the table of their names.

A measurement's name says its size: ``imagined_4096x1`` is 4,096 episodes of one decision a call.
"""

from __future__ import annotations

import copy
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sfvgen_plan.benchmarks.speed.diamond import diamond_steps
from sfvgen_plan.benchmarks.speed.training import training_step
from sfvgen_plan.devices import cpu_cores, device_name

if TYPE_CHECKING:
    from sfvgen_plan.imagination import Imagination
    from sfvgen_plan.model.checkpoint import Checkpoint
    from sfvgen_plan.simulator import LearnedSimulator

ENDLESS = 2**31  # decisions; longer than any measurement


@dataclass(frozen=True)
class SpeedRow:
    """One number, and the command that measures it again."""

    name: str
    device: str
    value: str
    unit: str
    command: str


@dataclass(frozen=True)
class Bench:
    """What is measured, for how many ``seconds`` a call at least: a checkpoint by its ``path`` (None: the package's),
    at so many denoising steps of an imagined decision, beside a checkout of DIAMOND if there is one; and the training
    step of a ``recipe``."""

    path: str | None = None
    device: str = "cpu"
    seconds: float = 3.0
    sampler_steps: int = 1
    diamond: Path | None = None
    recipe: str = "default"

    @cached_property
    def checkpoint(self) -> Checkpoint:
        from sfvgen_plan.model.checkpoint import load_checkpoint

        return load_checkpoint(self.path, self.device)

    @cached_property
    def simulator(self) -> LearnedSimulator:
        """Of the checkpoint, compiled on a GPU; with memory, if it has any."""
        return self.checkpoint.simulator(self.sampler_steps, compiled=True)

    @cached_property
    def training(self) -> tuple[float, float]:
        """Seconds of a training step, and its share of the device's peak."""
        from sfvgen_plan.learning.recipe import Recipe, filled
        from sfvgen_plan.settings import compose

        recipe = filled(Recipe, compose("train", ["data=none", f"train={self.recipe}"])["train"], "train")
        return training_step(self.checkpoint.pipeline.transformer, recipe.video, self.clock)

    def clock(self, call: Callable[[], object]) -> float:
        """Mean seconds of a call, over three calls at least and so many seconds; after calls that warm it up."""
        for _ in range(3 if self.device.startswith("cuda") else 1):
            call()
        calls, start = 0, time.perf_counter()
        while calls < 3 or time.perf_counter() - start < self.seconds:
            call()
            calls += 1
        return (time.perf_counter() - start) / calls


def imagined(bench: Bench, episodes: int, decisions: int, simulator: LearnedSimulator | None = None) -> float:
    """Imagined decisions a second, all heads included and no frame decoded, ``decisions`` of ``episodes`` in a call."""
    import torch

    simulator = simulator or bench.simulator
    state = begun(bench, simulator, episodes)
    actions = torch.rand(episodes, decisions, simulator.action_dim, device=simulator.device) * 2 - 1

    def imagine() -> None:
        nonlocal state
        state, outcome = simulator.imagine(state, actions)
        outcome.reward.cpu()  # waits for the device

    return episodes * decisions / bench.clock(imagine)


def begun(bench: Bench, simulator: LearnedSimulator, episodes: int) -> Imagination:
    """Episodes at the checkpoint's first start frame."""
    task = bench.checkpoint.tasks[0]
    start = bench.checkpoint.starts[task][:1, None].to(simulator.device).expand(episodes, -1, -1, -1, -1)
    return simulator.begin_latents(start, [task] * episodes, list(range(episodes)))


def vector(bench: Bench, num_envs: int, obs_mode: str) -> float:
    """Decisions a second of ``num_envs`` imagined environments in one batch."""
    from sfvgen_plan.envs.vector import ImaginedVectorEnv

    env = ImaginedVectorEnv(
        num_envs, bench.checkpoint.tasks[0], bench.checkpoint, obs_mode=obs_mode, max_decisions=ENDLESS,
        sampler_steps=bench.sampler_steps,
    )  # fmt: skip
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = np.asarray(env.action_space.sample())
    seconds = bench.clock(lambda: env.step(actions))
    env.close()
    return num_envs / seconds


def plan(bench: Bench, candidates: int, horizon: int) -> float:
    """Seconds of one plan of the default agent for one episode, of one round of candidates."""
    from sfvgen_plan.agents.registry import make_agent

    task = bench.checkpoint.tasks[0]
    settings = {"candidates": candidates, "horizon": horizon, "iterations": 1}
    agent: Any = make_agent("default", bench.checkpoint, bench.device, 0, settings)
    frame = bench.checkpoint.pipeline.decode(bench.checkpoint.starts[task][:1])
    agent.reset([0], [task], [0])
    return bench.clock(lambda: agent.act([0], frame))


def diamond_ratio(bench: Bench) -> float:
    """Imagined decisions a second over the steps a second of DIAMOND, both at their best number of episodes and without
    anything between a frame of the model and its pixels: ours are latents, DIAMOND's are the pixels."""
    assert bench.diamond is not None, "it is measured only where there is one"
    return max(imagined(bench, count, 1) for count in (1024, 4096)) / diamond_steps(
        bench.diamond, bench.device, bench.clock
    )


def memory_speedup(bench: Bench, episodes: int, decisions: int) -> float:
    """Decisions a second of so many memories that read and learn in one batch, over those of one episode after the
    other that read a learnt PEFT adapter, which is in place already."""
    import torch

    from sfvgen_plan.memory.adapter import with_adapter

    simulator, single = bench.simulator, bench.checkpoint.simulator(bench.sampler_steps, memory=False)
    actions = torch.zeros(1, decisions, simulator.action_dim, device=simulator.device)
    with tempfile.TemporaryDirectory() as folder:
        simulator.save_memory(simulator.imagine(begun(bench, simulator, 1), actions)[0], folder)
        single.network = with_adapter(copy.deepcopy(single.network), Path(folder)).base_model.model
    return imagined(bench, episodes, decisions) / imagined(bench, 1, decisions, single)


def has_temp_lora(bench: Bench) -> bool:
    return bench.checkpoint.has_memory and bench.checkpoint.pipeline.transformer.config.memory == "lora"


@dataclass(frozen=True)
class Measurement:
    """``on``: the device whose speed it is, "cpu" or "cuda". ``possible``: whether there is such a thing here."""

    measure: Callable[[Bench], float]
    unit: str
    on: str
    possible: Callable[[Bench], bool] = lambda bench: True


MEASUREMENTS: Mapping[str, Measurement] = {
    "step_cpu_ms": Measurement(lambda bench: 1e3 / vector(bench, 1, "pixels"), "ms", "cpu"),
    "plan_cpu_seconds": Measurement(partial(plan, candidates=64, horizon=8), "s", "cpu"),
    "plan_gpu_seconds": Measurement(partial(plan, candidates=200, horizon=10), "s", "cuda"),
    "imagined_4096x1": Measurement(partial(imagined, episodes=4096, decisions=1), "decisions/s", "cuda"),
    "imagined_1024x3": Measurement(partial(imagined, episodes=1024, decisions=3), "decisions/s", "cuda"),
    "vector_latent_1024": Measurement(partial(vector, num_envs=1024, obs_mode="latent"), "decisions/s", "cuda"),
    "vector_state_1024": Measurement(partial(vector, num_envs=1024, obs_mode="state"), "decisions/s", "cuda"),
    "vector_pixels_1024": Measurement(partial(vector, num_envs=1024, obs_mode="pixels"), "decisions/s", "cuda"),
    "training_step": Measurement(lambda bench: 1e3 * bench.training[0], "ms", "cuda"),
    "training_peak_share": Measurement(lambda bench: bench.training[1], "ratio", "cuda"),
    "diamond_ratio": Measurement(diamond_ratio, "ratio", "cuda", lambda bench: bench.diamond is not None),
    "memory_speedup_64": Measurement(partial(memory_speedup, episodes=64, decisions=8), "ratio", "cuda", has_temp_lora),
}


def machine(device: str) -> str:
    """What rows call the device: a GPU's name, or that of the processor with the cores that may be used."""
    if device != "cpu":
        return device_name(device)
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{(names or [platform.processor() or platform.machine()])[0]}, {cpu_cores()} cores"
