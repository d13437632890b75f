"""What one batch saves: the native vector environment beside single ones, batched memories beside PEFT adapters."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import numpy as np
import torch

from sfvgen_plan.memory.learning import FastLearning, episode_losses
from sfvgen_plan.model.checkpoint import Checkpoint

Clock = Callable[[Callable[[], object]], float]
"""Mean seconds of a call."""


def vector_rates(checkpoint: Checkpoint, num_envs: int, sampler_steps: int, clock: Clock) -> tuple[float, float]:
    """Decisions per second of ``num_envs`` imagined environments, in one batch and in Gymnasium's ``SyncVectorEnv``.

    Frames are decoded in both, as for an agent that sees pixels.
    """
    from gymnasium.vector import SyncVectorEnv

    from sfvgen_plan.envs.imagined import ImaginedEnv
    from sfvgen_plan.envs.vector import ImaginedVectorEnv

    task = checkpoint.tasks[0]
    endless = 2**31
    native = ImaginedVectorEnv(num_envs, task, checkpoint, sampler_steps=sampler_steps, max_decisions=endless)
    singles = SyncVectorEnv(
        [lambda: ImaginedEnv(task, checkpoint, sampler_steps=sampler_steps, max_decisions=endless)] * num_envs
    )
    rates = []
    for env in (native, singles):
        env.reset(seed=0)
        env.action_space.seed(0)
        actions = np.asarray(env.action_space.sample())
        rates.append(num_envs / clock(lambda env=env, actions=actions: env.step(actions)))  # type: ignore[misc]
    return rates[0], rates[1]


def memory_seconds(
    checkpoint: Checkpoint, episodes: int, decisions: int, sampler_steps: int, clock: Clock
) -> tuple[float, float, float]:
    """Seconds to imagine a chunk of ``decisions`` and learn it, for ``episodes`` with a memory each: in one batch, and
    with one PEFT adapter and ``torch.optim.Adam`` at a time; and the bytes of one episode's memory."""
    learning = FastLearning()
    simulator = checkpoint.simulator(sampler_steps, learning)
    task = checkpoint.tasks[0]
    start = checkpoint.starts[task][:1, None].expand(episodes, -1, -1, -1, -1)
    state = simulator.begin_latents(start, [task] * episodes, list(range(episodes)))
    actions = torch.rand(episodes, decisions, simulator.action_dim, device=simulator.device) * 2 - 1

    def batched() -> None:
        imagined, outcome = simulator.imagine(state, actions)
        simulator.remember(imagined)
        outcome.reward.cpu()  # waits for the device

    adapted = _Adapted(checkpoint, learning, episodes, sampler_steps)
    plain = adapted.simulator
    alone = plain.begin_latents(start, [task] * episodes, list(range(episodes)))

    def one_by_one() -> None:
        for n, (choose, adam) in enumerate(adapted.adapters):
            choose()
            one = torch.tensor([n], device=simulator.device)
            imagined, outcome = plain.imagine(plain.select(alone, one), actions[n : n + 1])
            sequence = imagined.context.clone()
            adam.zero_grad()
            with plain.precision():
                losses = episode_losses(adapted.unet, checkpoint.pipeline.scheduler, sequence, one, one * 0)
            losses.sum().backward()
            adam.step()
            outcome.reward.cpu()

    memory = state.memory
    assert memory is not None
    numbers = [*memory.down.values(), *memory.up.values(), *(part for pair in memory.moments.values() for part in pair)]
    size = sum(values[0].numel() * values.element_size() for values in numbers)
    return clock(batched), clock(one_by_one), float(size)


class _Adapted:
    """A copy of the denoiser with a PEFT adapter for every episode, chosen one at a time."""

    def __init__(self, checkpoint: Checkpoint, learning: FastLearning, episodes: int, sampler_steps: int) -> None:
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.tuners_utils import BaseTunerLayer

        # The copy shares its other parts with the original; only the denoiser is adapted.
        pipeline = copy.copy(checkpoint.pipeline)
        pipeline.unet = self.unet = copy.deepcopy(checkpoint.pipeline.unet)
        copied = Checkpoint(pipeline, checkpoint.card, checkpoint.starts, checkpoint.path)
        self.simulator = copied.simulator(sampler_steps)
        config = LoraConfig(
            r=learning.rank, lora_alpha=learning.alpha, lora_dropout=0.0, target_modules=list(learning.targets)
        )
        names = [f"episode{n}" for n in range(episodes)]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several are wanted here
            for name in names:
                inject_adapter_in_model(config, self.unet, name)
        self.unet.to(checkpoint.pipeline.device)
        layers = [module for module in self.unet.modules() if isinstance(module, BaseTunerLayer)]

        def chooser(name: str) -> Callable[[], None]:
            def choose() -> None:
                for layer in layers:
                    layer.set_adapter(name)

            return choose

        self.adapters = []
        for name in names:
            weights = [value for key, value in self.unet.named_parameters() if f".{name}." in key]
            self.adapters.append((chooser(name), torch.optim.Adam(weights, lr=learning.learning_rate)))
