"""Video planning learned from nothing in a world of latents: a blob, pushed to the left or to the right."""

import pytest
import torch

from sfvgen_plan.learning.data import TrainingData
from sfvgen_plan.learning.denoiser import DenoiserObjective, DenoiserStage, WindowSettings
from sfvgen_plan.learning.heads import HeadSettings
from sfvgen_plan.learning.inverse import InverseObjective, InverseStage
from sfvgen_plan.model.checkpoint import CheckpointCard, load_checkpoint, save_checkpoint
from sfvgen_plan.model.inverse import build_inverse
from sfvgen_plan.synthesis import Synthesis

LEFT, RIGHT = "go left", "go right"
EPISODES, LENGTH = 64, 8


def blobs(places: torch.Tensor) -> torch.Tensor:
    """Latents (..., 4, 8, 8) of a blob whose column is given, in the middle row."""
    columns, rows = torch.arange(8.0), torch.arange(8.0)[:, None]
    blob = torch.exp(-((columns - places[..., None, None]) ** 2 + (rows - 3.5) ** 2) / 2)
    return (4 * blob - 0.5)[..., None, :, :].repeat_interleave(4, dim=-3)


def world() -> TrainingData:
    """The first action number moves the blob by up to a column; who is told to go left goes left."""
    torch.manual_seed(0)
    count = EPISODES * (LENGTH + 1)
    text = torch.arange(EPISODES) % 2
    action = torch.zeros(EPISODES, LENGTH + 1, 4)
    action[:, 1:, 0] = torch.rand(EPISODES, LENGTH) * (2 * text[:, None] - 1)
    places = 1.5 + 4 * torch.rand(EPISODES, 1) + 0.7 * action[..., 0].cumsum(1)
    number = torch.arange(count)
    first = number - number % (LENGTH + 1)
    nothing = torch.zeros(count)
    return TrainingData(
        frames=nothing,
        action=action.flatten(0, 1),
        expert=action.flatten(0, 1),
        has_expert=nothing > 0,
        reward=nothing,
        success=nothing,
        labelled=number > first,
        estimates=nothing[:, None],
        task=text.repeat_interleave(LENGTH + 1),
        first=first,
        last=first + LENGTH,
        held_out=nothing > 0,
        few=nothing > 0,
        text=text.repeat_interleave(LENGTH + 1),
        told=nothing > 0,
        latents=blobs(places.flatten()),
    )


def train(stage: DenoiserStage | InverseStage, steps: int, size: int) -> None:
    optimizer = torch.optim.Adam(stage.objective.parameters(), 2e-3)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        optimizer.zero_grad()
        stage.objective(**stage.batch(step, size, generator, stage.objective))["loss"].backward()
        optimizer.step()


@pytest.fixture(scope="module")
def synthesis(make_pipeline, tmp_path_factory):
    pipeline, data = make_pipeline(unet_widths=(16, 16), norm_groups=4), world()
    text, _ = pipeline.embed([LEFT, RIGHT])
    windows = WindowSettings(lengths=(6,), drop_action=1.0, drop_text=0.0, unconditional=0.0, dream=0.0)
    train(DenoiserStage(data, DenoiserObjective(pipeline.unet, pipeline.scheduler), text, windows), 150, 8)
    torch.manual_seed(0)
    pipeline.register_modules(inverse=build_inverse(pipeline))
    train(InverseStage(data, InverseObjective(pipeline.inverse), HeadSettings(latent_noise=0.1)), 200, 64)
    folder = tmp_path_factory.mktemp("learned") / "checkpoint"
    card = CheckpointCard({"t": LEFT}, size=32, camera="c", repeat=1, sub_goals=[RIGHT])
    save_checkpoint(folder, pipeline, card, {"t": torch.zeros(1, 4, 8, 8)})
    checkpoint = load_checkpoint(folder)
    return Synthesis(checkpoint.simulator(4, exact=True), checkpoint.inverse())


@pytest.mark.slow
def test_the_actions_of_an_imagined_video_do_what_the_text_says(synthesis):
    starts = 2.5 + 2 * torch.rand(8, generator=torch.Generator().manual_seed(1))
    state = synthesis.simulator.begin_latents(blobs(starts)[:, None], ["t"] * 8, range(8))
    for text, sign in ((LEFT, -1), (RIGHT, 1)):
        _, video = synthesis.imagine(state, [text] * 8, 4)
        moved = synthesis.actions(state, video)[..., 0].mean(1) * sign
        assert (moved > 0).float().mean() >= 0.9 and moved.mean() > 0.2
