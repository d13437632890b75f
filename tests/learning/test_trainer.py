"""The training loop learns, averages and resumes."""

from dataclasses import dataclass, field

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from sfvgen_plan.learning.recipe import StageSettings
from sfvgen_plan.learning.trainer import fit

WEIGHTS = torch.tensor([[1.0, -2.0, 0.5]])


class Squares(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 1)

    def forward(self, x, y):
        return {"loss": (self.layer(x) - y).square().mean()}


@dataclass
class Line:
    """Noisy samples of a linear function; notes the steps it was asked for."""

    name: str = "line"
    objective: Squares = field(default_factory=Squares)
    steps: list[int] = field(default_factory=list)

    def batch(self, step, size, generator, average):
        self.steps.append(step)
        x = torch.randn(size, 3, generator=generator)
        # Global random numbers are seeded too, and the averaged weights are part of the state.
        return {"x": x + 0.01 * torch.randn(size, 3), "y": x @ WEIGHTS.T + 0.01 * average.layer.bias.detach()}


SETTINGS = StageSettings(steps=60, batch=32, learning_rate=0.1, warmup=5, weight_decay=0.0, ema=0.9)


class Killed(Exception):
    pass


def kill_at(step):
    def on_step(done, logs):
        if done == step:
            raise Killed

    return on_step


def weights(stage):
    return torch.cat([p.detach().flatten() for p in stage.objective.parameters()])


def train(folder, stage=None, settings=SETTINGS, seed=0, **options):
    stage = stage or Line()
    logs, _ = fit(stage, settings, Accelerator(cpu=True), folder, seed, log_every=1, **options)
    return stage, logs


def test_the_loss_goes_down(tmp_path):
    losses = []
    stage, logs = train(tmp_path, on_step=lambda step, logs: losses.append(logs["loss"]))
    assert len(losses) == 60
    assert logs["loss"] == losses[-1] < 0.05 * losses[0]
    torch.testing.assert_close(stage.objective.layer.weight.detach(), WEIGHTS, atol=0.2, rtol=0)
    assert not stage.objective.training


def test_seeds_decide(tmp_path):
    first, again, other = (train(tmp_path / str(n), seed=seed)[0] for n, seed in enumerate((0, 0, 1)))
    assert weights(first).equal(weights(again))
    assert not weights(first).equal(weights(other))


@pytest.mark.parametrize("step", [2, 17, 60])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, step):
    whole, _ = train(tmp_path / "whole")
    with pytest.raises(Killed):
        train(tmp_path / "parts", save_every_seconds=0.0, on_step=kill_at(step))
    resumed, _ = train(tmp_path / "parts")
    assert resumed.steps[0] == step - 1
    assert weights(resumed).equal(weights(whole))


def test_a_finished_stage_is_loaded_and_not_trained_again_and_nothing_half_written_is_left(tmp_path):
    first, logs = train(tmp_path, save_every_seconds=0.0)
    assert [file.name for file in tmp_path.iterdir()] == ["line.pt"]
    again, same = train(tmp_path)
    assert again.steps == []
    assert same == logs
    assert weights(again).equal(weights(first))
