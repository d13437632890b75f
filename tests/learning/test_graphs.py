"""CUDA graphs change the speed of a training step, not its result."""

import pytest
import torch
from torch import nn

from sfvgen_plan.learning.graphs import CapturedFunction, CapturedObjective


class Objective(nn.Module):
    """A small network with a part that gets no gradient."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x, target):
        error = (torch.tanh(self.used(x)).float() - target).square()
        return {"loss": error.mean(), "largest": error.detach().max()}


@pytest.mark.gpu
def test_captured_steps_have_the_gradients_of_plain_ones_for_every_shape():
    torch.manual_seed(0)
    objective = Objective().cuda()
    captured = CapturedObjective(objective)
    for count in (5, 2, 5):
        batch = {"x": torch.randn(count, 4, device="cuda"), "target": torch.randn(count, 3, device="cuda")}
        replayed, plain = (gradients(objective, forward, batch) for forward in (captured, objective))
        assert all(torch.equal(a, b) for a, b in zip(replayed, plain, strict=True))


def gradients(objective, forward, batch):
    """One of the losses, and the gradient of the part that is used."""
    objective.zero_grad()
    with torch.autocast("cuda", torch.bfloat16):
        losses = forward(**batch)
    losses["loss"].backward()
    assert objective.used.weight.grad is not None
    return losses["largest"].clone(), objective.used.weight.grad.clone()


@pytest.mark.gpu
def test_captured_functions_see_new_weights_and_return_tensors_of_their_own():
    layer = nn.Linear(4, 3).cuda().requires_grad_(False)
    captured = CapturedFunction(layer)
    x = torch.randn(2, 4, device="cuda")
    first = captured(x)
    with torch.no_grad():
        layer.bias.add_(1.0)
    second = captured(x)
    torch.testing.assert_close(second, first + 1, rtol=0, atol=0.02)
    assert captured(torch.randn(7, 4, device="cuda")).shape == (7, 3)
