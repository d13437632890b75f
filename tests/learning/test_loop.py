"""Slow-fast learning: Θ_i of the right episode and chunk, frozen beside Φ; killed runs go on to the bit."""

from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator

from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import to_training_data
from sfvgen_plan.learning.denoiser import DenoiserObjective, WindowSettings
from sfvgen_plan.learning.loop import LoopObjective, LoopSettings, LoopStage
from sfvgen_plan.learning.trainer import StageSettings, fit
from sfvgen_plan.memory.learning import FastLearning, Given, learn
from sfvgen_plan.memory.weights import fresh_memory

PAST, CHUNK = 2, 3
LEARNING = FastLearning(rank=2, alpha=4.0, learning_rate=1e-2)
WINDOWS = WindowSettings(lengths=(PAST + CHUNK,), context=PAST, vary=0.0, dream=0.0, context_noise=0.0)
SETTINGS = LoopSettings(episodes=4, chunk=CHUNK, chunks=3)
FIT = StageSettings(steps=6, batch=4, learning_rate=1e-3, warmup=1, ema=0.5)


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_small_dataset):
    """Five episodes of a task, three chunks long, one held out; random latents."""
    folder = tmp_path_factory.mktemp("data") / "set"
    data = to_training_data(load_episodes(write_small_dataset(folder, 5, 10)), torch.device("cpu"), held_out_every=5)
    data.latents = torch.randn(len(data.task), 4, 8, 8, generator=torch.Generator().manual_seed(0)).half()
    return data


@pytest.fixture(scope="module")
def text():
    return torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def stage(make_pipeline, data, text):
    """Function that makes the stage of an untrained model."""

    def make(memory=LEARNING, settings=SETTINGS, windows=WINDOWS, batch=FIT.batch, **options):
        pipeline = make_pipeline()
        scale = memory.alpha / memory.rank if memory is not None else 1.0
        objective = LoopObjective(pipeline.unet, pipeline.scheduler, scale)
        return LoopStage(data, objective, text, windows, settings, memory, batch, **options)

    return make


def batch_of(stage, step=0, size=FIT.batch):
    return stage.batch(step, size, torch.Generator().manual_seed(step), torch.nn.Identity())


def same(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def phi(stage):
    return {name: values.clone() for name, values in stage.objective.unet.state_dict().items()}


def test_the_outer_step_changes_phi_and_leaves_theta_alone(stage):
    made = stage()
    before = phi(made)
    batch = batch_of(made, size=12)
    theta = {name: values.clone() for name, values in batch.items() if name.startswith(("down.", "up."))}
    assert any(values.any() for name, values in theta.items() if name.startswith("up."))
    made.objective(**batch)["loss"].backward()
    for name, values in theta.items():
        assert not batch[name].requires_grad
        assert batch[name].grad is None
        assert torch.equal(batch[name], values)
    gradients = [p.grad for p in made.objective.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    torch.optim.SGD(made.objective.parameters(), lr=0.1).step()
    assert not same(before, phi(made))
    assert not any(name.startswith(("down", "up.")) for name, _ in made.objective.named_parameters())


def test_theta_takes_part_in_the_outer_loss(stage):
    made = stage()
    batch = batch_of(made, size=12)
    plain = {name: values for name, values in batch.items() if not name.startswith(("down.", "up."))}
    with torch.no_grad():
        beside = made.objective(**batch)["loss"]
        alone = DenoiserObjective(made.objective.unet, made.objective.scheduler)(**plain)["loss"]
    assert not torch.isclose(beside, alone, rtol=1e-4)


def test_making_triples_leaves_phi_alone(stage):
    made = stage()
    before = phi(made)
    made.collect(0)
    assert same(before, phi(made))
    assert all(p.grad is None and p.requires_grad for p in made.objective.parameters())


@pytest.mark.parametrize("rule", ["local", "output", "whole"])
def test_every_chunk_goes_with_what_its_episode_had_learnt_before_it(stage, data, text, rule):
    """Against one episode at a time, with every sequence written out."""
    learning = replace(LEARNING, rule=rule, window=4 if rule == "whole" else None)
    made = stage(learning)
    triples = made.collect(2)
    unet, scheduler = made.objective.unet, made.objective.scheduler
    starts = data.first[triples.newest]
    assert len(starts.unique()) == 4
    for start in starts.unique():
        memory = fresh_memory(unet, start[None] + 2 * len(data.first), learning.rank, learning.alpha)
        for i in range(3):
            at = ((starts == start) & (triples.chunk == i)).nonzero()
            assert at.shape == (1, 1)
            assert triples.newest[at] == start + (i + 1) * CHUNK
            assert any(bool(values[at[0]].any()) for values in triples.up.values()) == (i > 0)
            # Adam turns the rounding of vanishing gradients into steps of full size, hence norms.
            ours = torch.cat([triples.up[layer][at[0]].flatten() for layer in memory.up])
            theirs = torch.cat([values.flatten() for values in memory.up.values()])
            assert (ours - theirs).norm() <= 0.02 * theirs.norm()
            first = start if rule == "whole" else start + i * CHUNK
            frames = torch.arange(int(first) - PAST + 1, int(start) + (i + 1) * CHUNK + 1).clamp(min=int(start))
            given = Given(PAST, data.action[frames][None], text[data.task[start]][None]) if rule == "output" else None
            memory, _ = learn(
                unet,
                scheduler,
                memory,
                data.latents[frames][None].float(),
                start[None] + 2 * len(data.first),
                learning,
                given,
            )


def test_windows_of_one_episode_come_with_their_own_theta(stage, data):
    made = stage(windows=replace(WINDOWS, unconditional=0.0))
    batch = batch_of(made, size=12)
    triples = made.collect(0)
    layer = next(iter(triples.up))
    for n in range(12):
        window = next(
            k
            for k in range(len(triples))
            if torch.equal(
                batch["latents"][n], data.latents[data.window(triples.newest[k : k + 1], PAST + CHUNK)[0]].float()
            )
        )
        assert torch.equal(batch[f"up.{layer}"][n], triples.up[layer][window])
        assert torch.equal(batch[f"down.{layer}"][n], triples.down[layer][window])
    assert batch["clean"].sum(1).eq(PAST).all()
    assert len({float(values.sum()) for values in batch[f"up.{layer}"]}) >= 9  # Θ_0 is zero for all, others differ


def test_every_triple_is_trained_on_once_a_round(stage, data):
    made = stage(batch=3)
    assert made.round_steps == 4  # 4 episodes of 3 chunks, 3 a step
    seen = torch.cat([batch_of(made, step, 3)["latents"] for step in range(4)])
    wanted = made.collect(0)
    keys = {float(values.double().sum()) for values in seen}
    windows = data.latents[data.window(wanted.newest, PAST + CHUNK)].float()
    assert keys == {float(values.double().sum()) for values in windows}


def test_held_out_episodes_are_never_seen(stage, data):
    made = stage(memory=None)
    newest = torch.cat([made.collect(number).newest for number in range(12)])
    assert data.held_out.any()
    assert not data.held_out[newest].any()
    assert len(data.first[newest].unique()) == 8  # and all others are


def test_processes_share_the_episodes_of_a_round(stage, data):
    whole = stage().collect(1)
    shares = [stage(process=n, processes=2) for n in range(2)]
    assert {share.round_steps for share in shares} == {stage().round_steps}
    parts = [share.collect(1) for share in shares]
    assert sorted(torch.cat([part.newest for part in parts]).tolist()) == sorted(whole.newest.tolist())
    assert not set(data.first[parts[0].newest].tolist()) & set(data.first[parts[1].newest].tolist())


def test_unequal_episodes(tmp_path, write_small_dataset, make_pipeline, text):
    """Short episodes leave the batch early; those shorter than a chunk are left out."""
    data = to_training_data(
        load_episodes(write_small_dataset(tmp_path / "set", 4, 9)), torch.device("cpu"), held_out_every=100
    )
    data.latents = torch.randn(len(data.task), 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for episode, length in enumerate((9, 2, 5, 3)):  # as if they had ended there
        frames = data.first == episode * 10
        data.last[frames] = episode * 10 + length
    pipeline = make_pipeline()
    objective = LoopObjective(pipeline.unet, pipeline.scheduler, 2.0)
    made = LoopStage(data, objective, text, WINDOWS, replace(SETTINGS, episodes=100), LEARNING, 4)
    triples = made.collect(0)
    counts = {int(first): int((data.first[triples.newest] == first).sum()) for first in made.starts}
    assert counts == {0: 3, 20: 1, 30: 1, 40: 3, 50: 3, 60: 3, 70: 3}
    assert (triples.newest <= data.last[triples.newest]).all()
    assert all(len(values) == len(triples) for values in triples.up.values())


def test_without_memory_the_same_chunks_are_trained_on(stage):
    beside, alone = stage(), stage(memory=None)
    ours, theirs = batch_of(beside), batch_of(alone)
    assert not [name for name in theirs if name.startswith(("down.", "up."))]
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def train(folder, made, **options):
    fit(made, FIT, Accelerator(cpu=True), folder, 0, log_every=1, **options)
    return phi(made)


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def uninterrupted(stage, tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"), stage())


@pytest.mark.parametrize("step", [3, 4, 6])
def test_killed_and_resumed_equals_uninterrupted(stage, uninterrupted, tmp_path, step):
    """In the middle of rounds of three steps and between them; Φ moves, and with it what D_s is made with. What was
    saved last is the step before."""

    def kill(done, logs):
        if done == step:
            raise Killed

    assert stage().round_steps == 3
    with pytest.raises(Killed):
        train(tmp_path / "parts", stage(), save_every_seconds=0.0, on_step=kill)
    assert same(train(tmp_path / "parts", stage()), uninterrupted)
    assert not same(uninterrupted, phi(stage()))


def test_each_round_learns_with_phi_of_its_start(stage):
    """Not with the untrained one, nor with one that moves within the round."""
    made = stage()
    first = made._triples_of(0, fresh=True)
    for values in made.objective.unet.parameters():
        values.data.mul_(1.01)
    assert made._triples_of(0, fresh=False) is first
    second = made._triples_of(1, fresh=True)
    assert same(second.up, made.collect(1).up)
    assert not same(second.up, stage().collect(1).up)


def test_what_does_not_fit_is_refused(stage):
    with pytest.raises(UserError, match="exceed the context window"):
        stage(settings=replace(SETTINGS, chunk=31))
    with pytest.raises(UserError, match="fits no episode"):
        stage(settings=replace(SETTINGS, chunk=20))
    with pytest.raises(UserError, match="8 processes can't share 4 episodes"):
        stage(processes=8)
    with pytest.raises(UserError, match=r"loop.episodes=0"):
        replace(SETTINGS, episodes=0)
