"""The rows of the ablation: each differs from the full method in what its name says, and in nothing else."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.learning import FastLearning, Given, _sample, episode_losses, learn
from sfvgen_plan.memory.rows import ROWS, MemoryRow, memory_of_row, row_of, simulator_of_row
from sfvgen_plan.memory.weights import fresh_memory, target_layers
from sfvgen_plan.settings import compose

TASK = ["reach-v3"] * 2
EAGER = {"rank": 2, "alpha": 4.0, "learning_rate": 1e-2}


def differences(row):
    """Dotted settings of a row that are not those of the full one."""
    full, other = asdict(row_of("full")), asdict(row_of(row))
    learning, base = other.pop("fast_learning"), full.pop("fast_learning")
    found = {name: value for name, value in other.items() if value != full[name] and name != "name"}
    if learning is None:
        return found | {"fast_learning": None}
    return found | {name: value for name, value in learning.items() if value != base[name]}


def test_rows_differ_exactly_as_stated():
    assert {row: differences(row) for row in ROWS} == {
        "full": {},
        "no_loop": {"loop_memory": False},
        "no_temp_lora": {"loop_memory": False, "fast_learning": None},
        "original_temp_lora": {"rule": "output"},
        "no_local_rule": {"rule": "whole", "window": 10},
        "no_chunk_input": {"context_frames": 1},
    }


def test_the_full_row_is_the_papers_memory_that_learns_faster():
    assert memory_of_row("full") == FastLearning(learning_rate=3e-3, steps=4)
    assert memory_of_row("no_temp_lora") is None
    assert row_of("full").context_frames is None


@pytest.mark.parametrize("row", ROWS)
def test_training_and_evaluation_mean_the_same_by_a_name(row):
    assert MemoryRow.of(compose("train", [f"row={row}"])["row"]) == row_of(row)


def test_settings_of_a_row_can_be_changed():
    changed = MemoryRow.of(compose("train", ["row=no_local_rule", "row.fast_learning.window=6"])["row"])
    assert changed.fast_learning == replace(memory_of_row("no_local_rule"), window=6)


def test_an_unknown_row_is_refused():
    with pytest.raises(UserError, match=r"row='no_loops' is unknown; did you mean no_loop"):
        memory_of_row("no_loops")


def test_the_recipe_of_the_memory_tasks_trains_what_they_need():
    """Text without actions for video plans, inverse dynamics, and a loop at the noise of the denoiser before it."""
    config = compose("train", ["train=memory", "loop=slowfast"])
    recipe, usual = config["train"], compose("train", [])["train"]
    windows = recipe["denoiser"]["windows"]
    assert windows["drop_action_told"] > usual["denoiser"]["windows"]["drop_action"]
    assert config["loop"]["windows"]["drop_action_told"] == windows["drop_action_told"]
    assert recipe["inverse"]["fit"]["steps"] > 0
    assert config["loop"]["windows"]["log_mean"] == windows["log_mean"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": "global"}, "rule"),
        ({"rule": "whole"}, "window"),
        ({"rule": "output", "window": 4}, "window"),
        ({"window": 0}, "window"),
        ({"rank": 0}, "rank=0"),
        ({"steps": 0}, "steps=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"alpha": float("nan")}, "alpha=nan"),
    ],
)
def test_settings_that_do_not_go_together(settings, message):
    with pytest.raises(UserError, match=message):
        FastLearning(**settings)


def simulator_of(checkpoint, row):
    """The row's simulator with a small and eager memory."""
    made = simulator_of_row(checkpoint, row, 1, exact=True)
    if made.fast_learning is not None:
        made.fast_learning = replace(made.fast_learning, **EAGER, steps=1)
    return made


def start_of(made, checkpoint):
    latents = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    return made.begin_latents(latents, TASK, [4, 5])


def actions_of(chunks, seed=0):
    return torch.rand(chunks, 2, 8, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def play(made, state, actions):
    for chunk in actions:
        state, _ = made.imagine(state, chunk)
        state = made.remember(state)
    return state


def same_memory(ours, theirs):
    return all(torch.equal(ours.up[layer], theirs.up[layer]) for layer in ours.up)


@pytest.mark.parametrize("row", [row for row in ROWS if row != "no_temp_lora"])
def test_what_is_remembered_changes_what_is_imagined(checkpoint, row):
    made = simulator_of(checkpoint, row)
    start = start_of(made, checkpoint)
    state = play(made, start, actions_of(2))
    assert state.memory.steps.tolist() == [2, 2]
    plain = replace(state, memory=start.memory)
    assert not torch.allclose(
        made.imagine(state, actions_of(1)[0])[1].latents, made.imagine(plain, actions_of(1)[0])[1].latents
    )


def test_a_row_without_memory_has_none(checkpoint):
    made = simulator_of(checkpoint, "no_temp_lora")
    assert start_of(made, checkpoint).memory is None


@pytest.mark.parametrize(("row", "frames"), [("full", 10), ("original_temp_lora", 10), ("no_chunk_input", 9)])
def test_the_local_rule_sees_the_current_chunk_and_its_input_alone(checkpoint, row, frames):
    made = simulator_of(checkpoint, row)
    state = play(made, start_of(made, checkpoint), actions_of(2))
    state, outcome = made.imagine(state, actions_of(1)[0])
    sequence = state.context[:, -frames:]
    assert torch.equal(sequence[:, -8:], outcome.latents)
    given = None
    if row == "original_temp_lora":
        text, _ = made.pipeline.embed(["reach the red goal"] * 2)
        given = Given(2, state.actions[:, -frames:], text)
    unet, scheduler = made.pipeline.unet, made.pipeline.scheduler
    expected, _ = learn(unet, scheduler, state.memory, sequence, state.seed, made.fast_learning, given)
    assert same_memory(made.remember(state).memory, expected)


def test_without_the_local_rule_old_chunks_are_seen_again(checkpoint):
    made = simulator_of(checkpoint, "no_local_rule")
    state = play(made, start_of(made, checkpoint), actions_of(5))
    assert state.context.shape[1] == 2 + 5 * 8  # longer than the context window
    changed = state.context.clone()
    changed[:, :10] += 1.0
    learnt = [
        [play_once(made, replace(state, context=context, seed=state.seed + n)) for n in range(6)]
        for context in (state.context, changed)
    ]
    seen = [not same_memory(a, b) for a, b in zip(*learnt, strict=True)]
    assert any(seen)
    assert not all(seen)  # a sample is not the whole episode


def play_once(made, state):
    return made.remember(state).memory


def test_the_original_learns_the_output_given_its_input(checkpoint):
    """Actions matter to it, to the full method they don't; frames given as input are no target."""
    for row, matters in (("original_temp_lora", True), ("full", False)):
        made = simulator_of(checkpoint, row)
        state, _ = made.imagine(start_of(made, checkpoint), actions_of(1)[0])
        others = None if state.actions is None else torch.cat([state.actions[:, :2], actions_of(1, seed=1)[0]], dim=1)
        assert (others is not None) == matters
        assert same_memory(made.remember(state).memory, made.remember(replace(state, actions=others)).memory) != matters


def test_the_original_takes_its_loss_on_the_output(checkpoint, pipeline):
    class Copy:
        """Says that every frame is what it is shown."""

        config = pipeline.unet.config

        @staticmethod
        def denoise(latents, clean, actions, given, timestep, text):
            seen.append((latents, clean, given))
            return torch.zeros_like(latents)

    seen = []
    sequence = torch.randn(2, 6, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    given = Given(2, torch.zeros(2, 6, 4), torch.zeros(2, 1, 16))
    seeds = torch.tensor([1, 2])
    losses = [
        episode_losses(Copy, pipeline.scheduler, s, seeds, seeds * 0, given) for s in (sequence, sequence.clone())
    ]
    assert torch.equal(*losses)
    shown, clean, acted = seen[0]
    assert torch.equal(shown[:, :2], sequence[:, :2])
    assert not torch.isclose(shown[:, 2:], sequence[:, 2:]).all()
    assert clean.tolist() == [[1, 1, 0, 0, 0, 0]] * 2
    assert acted.tolist() == [[0, 0, 1, 1, 1, 1]] * 2
    moved = sequence.clone()
    moved[:, :2] += 7.0  # the input is no target: with a network that ignores it the loss stays
    assert torch.equal(episode_losses(Copy, pipeline.scheduler, moved, seeds, seeds * 0, given), losses[0])


def test_without_chunk_input_one_frame_decides(checkpoint):
    for row, matters in (("no_chunk_input", False), ("full", True)):
        made = simulator_of(checkpoint, row)
        state = start_of(made, checkpoint)
        other = replace(state, context=torch.cat([state.context[:, :1] + 1.0, state.context[:, 1:]], dim=1))
        outcomes = [made.imagine(s, actions_of(1)[0])[1].latents for s in (state, other)]
        assert torch.equal(*outcomes) != matters
        # Nor does the older frame, kept for the heads, enter the memory.
        learnt = [play(made, s, actions_of(1)).memory for s in (state, other)]
        assert same_memory(*learnt) != matters


@pytest.mark.parametrize("row", ["full", "original_temp_lora", "no_local_rule", "no_chunk_input"])
def test_real_frames_are_remembered_by_the_rows_rule(checkpoint, row):
    made = simulator_of(checkpoint, row)
    random = np.random.default_rng(0)
    frames = random.integers(0, 255, (2, 13, 32, 32, 3), dtype=np.uint8)
    actions = random.uniform(-1, 1, (2, 12, 4)).astype(np.float32)
    learnt = made.remember_frames([None, None], frames, actions, TASK, [4, 5])
    other = made.remember_frames([None, None], frames, -actions, TASK, [4, 5])
    assert [memory.steps.tolist() for memory in learnt] == [[1], [1]]
    assert any(values.any() for values in learnt[0].up.values())
    assert same_memory(learnt[0], other[0]) == (row != "original_temp_lora")


def test_forks_and_selections_keep_their_actions(checkpoint):
    made = simulator_of(checkpoint, "original_temp_lora")
    state, _ = made.imagine(start_of(made, checkpoint), actions_of(1)[0])
    assert torch.equal(made.fork(state, 2).actions, state.actions[[0, 0, 1, 1]])
    with pytest.raises(UserError, match="rule='output' learns from actions"):
        made.remember(replace(state, actions=None))


def test_a_step_on_a_sample_learns_from_those_frames_alone(pipeline, unet, seeds, chunks):
    settings = FastLearning(**EAGER, window=2)
    parts = [_sample(chunks[0], seeds, torch.full_like(seeds, step), 2) for step in range(8)]
    starts = set()
    for part in parts:
        for n in range(len(seeds)):
            places = [k for k in range(4) if torch.equal(chunks[0][n, k : k + 2], part[n])]
            assert len(places) == 1
            starts.add(places[0])
    assert starts == {0, 1, 2, 3}
    start = fresh_memory(unet, seeds, settings.rank, settings.alpha)
    sampled, _ = learn(unet, pipeline.scheduler, start, chunks[0], seeds, settings)
    written, _ = learn(unet, pipeline.scheduler, start, parts[0], seeds, replace(settings, window=None))
    assert same_memory(sampled, written)


def test_patterns_choose_fewer_layers(unet):
    every = target_layers(unet)
    late = target_layers(unet, ("up_blocks.*.to_q", "up_blocks.*.to_v"))
    assert 0 < len(late) < len(every)
    assert all(name.startswith("up_blocks.") and name.endswith(("to_q", "to_v")) for name in late)
    with pytest.raises(UserError, match="no linear layer"):
        target_layers(unet, ("to_nothing",))
