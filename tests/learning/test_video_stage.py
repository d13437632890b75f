"""Slow learning of the video transformer."""

import pytest
import torch
from accelerate import Accelerator
from made_up import training_data

from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.recipe import StageSettings, VideoSettings
from sfvgen_plan.learning.trainer import fit
from sfvgen_plan.learning.video import VideoObjective, VideoStage, place_of
from sfvgen_plan.model.attention import Window
from sfvgen_plan.model.condition import Condition
from sfvgen_plan.model.transformer import VideoTransformer

EPISODES, DECISIONS, FRAMES = 20, 9, 6


def world(decisions=DECISIONS):
    """Episodes of a dot that the first action number moves, solved on the right side."""
    torch.manual_seed(0)
    length = decisions + 1
    number = torch.arange(EPISODES * length)
    first = number // length * length
    action = torch.rand(len(number), 2) * 2 - 1
    action[first] = 0
    sums = action.cumsum(0)
    place = 0.5 * (sums - sums[first])
    dot = torch.linspace(-1, 1, 4)
    picture = torch.exp(-4 * (dot - place[:, :1].clamp(-1, 1)).square())
    latents = picture[:, None, None, :].expand(-1, 2, 4, -1)
    episode = number // length
    return training_data(
        EPISODES,
        action,
        expert=torch.stack([-place[:, 0].sign(), place[:, 0] * 0], -1),
        has_expert=number > first,
        reward=place[:, 0].clamp(0, 1),
        success=(place[:, 0] > 0.5).float(),
        estimates=place,
        task=episode % 2,
        text=episode % 2,
        held_out=episode == 3,
        few=episode < 2,
        by_expert=episode < 2,
        latents=2 * latents - 1,
    )


def stage_of(data, memory_blocks=(), **settings):
    torch.manual_seed(0)
    network = VideoTransformer(
        height=4, width=4, latent_channels=2, action_dim=2, text_dim=3, readouts=2, window=FRAMES - 1, dim=32,
        depth=2, heads=2, conditioning=16, squeezed=4, estimate_mean=[0.0, 0.0], estimate_std=[0.5, 0.5],
        memory_blocks=memory_blocks, memory_rank=8, memory_beginning=memory_blocks,
    )  # fmt: skip
    chosen = VideoSettings(**{"frames": FRAMES, "dream_from": 0, "dream": 0.0, **settings})
    return VideoStage(data, VideoObjective(network, chosen), torch.randn(2, 3), chosen)


def batch(stage, step=0, size=32):
    return stage.batch(step, size, torch.Generator().manual_seed(step), stage.objective)


def test_places_are_sums_of_actions_within_an_episode():
    data = world()
    place, sums = place_of(data), data.action.view(EPISODES, -1, 2).sum(1)
    assert torch.equal(place[data.first], torch.zeros_like(place))
    assert torch.allclose(place[data.last], sums.repeat_interleave(10, 0), atol=1e-5)


def test_every_loss_falls(tmp_path):
    stage = stage_of(world(), drop_action=0.2)
    torch.manual_seed(1)
    before = {name: float(loss.detach()) for name, loss in stage.objective(**batch(stage, 10_000, 512)).items()}
    settings = StageSettings(steps=80, batch=16, learning_rate=5e-3, warmup=10, ema=0.9)
    fit(stage, settings, Accelerator(cpu=True), tmp_path, seed=0)
    after = {name: float(loss.detach()) for name, loss in stage.objective(**batch(stage, 10_000, 512)).items()}
    assert after["denoising"] < 0.6 * before["denoising"]
    for name in ("state", "reward", "success", "prior", "prior10", "inverse"):
        assert after[name] < 0.8 * before[name], name


def test_the_seed_decides_what_is_learnt(tmp_path):
    learnt = []
    for place, seed in enumerate((0, 0, 1)):
        stage = stage_of(world())
        fit(stage, StageSettings(2, 8, 3e-3), Accelerator(cpu=True), tmp_path / str(place), seed)
        learnt.append(torch.cat([part.detach().flatten() for part in stage.objective.parameters()]))
    assert torch.equal(learnt[0], learnt[1]) and not torch.equal(learnt[0], learnt[2])


def test_windows_stay_in_their_episode_and_out_of_held_out_ones():
    data = world()
    data.latents = torch.arange(EPISODES * 10.0).view(-1, 1, 1, 1).expand(-1, 2, 4, 4)  # every frame names itself
    made = batch(stage_of(data), size=256)
    frame = made["truth"][:, :, 0, 0].long()
    episode = frame // 10
    assert bool((episode == episode[:, :1]).all()) and 3 not in episode
    real = made["labels"][..., 0] > 0
    assert bool((frame.diff(dim=1) == real[:, 1:].long()).all())  # past the end the last frame repeats, and counts not
    assert not bool(made["given"][:, 0][frame[:, 0] % 10 == 0].any())  # nothing led to an episode's first frame


@pytest.mark.slow
def test_compiled_the_losses_are_the_same():
    stage = stage_of(world(decisions=39), memory_blocks=[1], frames=17, alone=2)
    made = batch(stage, size=16)
    plain = float(stage.objective(**made)["loss"].detach())
    stage.objective.compile(dynamic=False)
    assert float(stage.objective(**made)["loss"].detach()) == pytest.approx(plain, rel=1e-4)


def test_dreams_keep_true_frames_first_and_lead_on_from_the_models_own():
    stage = stage_of(world(), dream=1.0, context_noise=0.0, shown=2)
    torch.nn.init.normal_(stage.objective.network.out.weight, std=0.2)
    made = batch(stage)
    differs = (made["shown"] - made["truth"]).abs().amax((-1, -2)) > 1e-4
    assert not bool(differs[:, 0].any()) and bool(differs[:, 2:].all())
    assert 0 < int(differs[:, 1].sum()) < len(differs)  # one or two true frames
    again = batch(stage)
    assert all(torch.equal(made[name], again[name]) for name in made)  # a function of the step and the generator


def test_the_loss_of_a_window_ignores_frames_that_do_not_exist():
    stage = stage_of(world())
    made = batch(stage, size=64)
    before = stage.objective(**made)
    gone = made["labels"][..., 0] == 0
    assert bool(gone.any())
    made["noisy"] = torch.where(gone[..., None, None], made["noisy"] + 3, made["noisy"])
    made["estimates"] = made["estimates"] + 5 * gone[..., None]
    made["labels"][..., 2] += 5 * gone
    after = stage.objective(**made)
    assert before.keys() == after.keys()
    assert all(float(loss.detach()) == pytest.approx(float(after[name].detach())) for name, loss in before.items())


@pytest.mark.parametrize("loop", [True, False])
def test_without_the_loop_nothing_is_written_while_training(loop):
    stage = stage_of(world(), memory_blocks=[1], frames=10, loop=loop)
    torch.nn.init.normal_(stage.objective.network.out.weight, std=0.2)
    stage.objective(**batch(stage))["loss"].backward()
    value = stage.objective.network.blocks[1].memory.value.weight
    assert bool(value.grad.any()) is loop


def test_nothing_follows_the_end_of_a_task_and_of_cut_off_ones_nothing_is_known():
    objective = stage_of(world(), gamma=0.5).objective
    value, progress = torch.tensor([[0.2, 0.4, 0.8]]), torch.tensor([[0.0, 0.6, 1.0]])
    ends, by_itself = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    targets = objective._value_target(value, progress, ends, 0 * by_itself)
    assert targets.flatten().tolist() == pytest.approx([0.5, 0.9, 0.9])
    targets = objective._value_target(value, progress, ends, by_itself)
    assert targets.flatten().tolist() == pytest.approx([0.5, 0.9, 0.0])
    with pytest.raises(UserError, match="no episode of two frames"):
        stage_of(world(decisions=0))


def test_decisions_that_go_on_as_before_weigh_little_in_the_priors_loss():
    stage = stage_of(world(), steady=0.0)
    inputs = batch(stage)
    inputs["given"] = torch.ones_like(inputs["given"])
    repeated = {**inputs, "expert": inputs["actions"]}
    turned = {**inputs, "expert": -inputs["actions"].sign()}
    with torch.no_grad():
        assert stage.objective(**repeated)["prior"] == 0
        assert stage.objective(**turned)["prior"] > 0.1
        assert stage_of(world(), steady=1.0).objective(**repeated)["prior"] > 0.1


def test_layers_of_the_beginning_are_taught_what_the_first_frame_was(tmp_path):
    stage = stage_of(world(decisions=11), memory_blocks=(1,), frames=12)
    logs, _ = fit(stage, StageSettings(20, 16, 3e-3, warmup=5), Accelerator(cpu=True), tmp_path, seed=0)
    untaught = stage_of(world(decisions=11), memory_blocks=(1,), frames=12)
    assert logs["beginning"] < 0.5 * untaught.objective(**batch(untaught))["beginning"].item()


def test_frames_are_also_read_as_an_episodes_first_ones_are_in_imagination() -> None:
    stage = stage_of(world(), memory_blocks=(1,), alone=3)
    network, made = stage.objective.network, batch(stage)
    alone = made["alone"]
    assert alone.shape == (32, 3) and alone.min() >= 0 and alone.max() < FRAMES and len(alone.unique()) > 3
    row = torch.arange(32)
    shown, noise = (made[name][row, alone[:, 1]][:, None] for name in ("shown", "shown_noise"))
    text = made["text"][row, (alone[:, 1] + 1).clamp_max(FRAMES - 1)][:, None]  # of the decision that follows
    nothing = torch.zeros(32, 1, 2)
    with torch.no_grad():
        read = stage.objective._first(made["shown"], made["shown_noise"], made["text"], alone)[:, 1]
        room = Window(network.empty(32), network.tokens)
        known = Condition(nothing, nothing[..., 0], nothing, text)
        looked = network.features(network.look(room, 0, shown, noise, known, torch.zeros(32, 1, dtype=torch.bool)))
        assert torch.allclose(read, looked[:, 0], atol=1e-4)
        with_them = stage.objective(**made)
        without = stage.objective(**{**made, "alone": alone[:, :0]})
    changed = {name for name in without if not torch.allclose(with_them[name], without[name])}
    assert changed == {"loss", "state", "value", "prior", "prior10"}
