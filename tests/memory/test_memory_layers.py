"""Memory layers: the Temp-LoRA that is taught to learn, and what both kinds do with imagined frames."""

import pytest
import torch

from sfvgen_plan.memory.recall import ROOM, Recall
from sfvgen_plan.memory.temp_lora import CHUNK, TempLora

EPISODES, FRAMES, TOKENS, DIM = 2, 3 * CHUNK + 3, 4, 32
REAL = torch.zeros(EPISODES, 1, dtype=torch.bool)


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return TempLora(DIM, places=2, tokens=TOKENS, features=64, rank=16)


def walk():
    """Tokens and places of frames; the last ones are where the first ones were."""
    torch.manual_seed(1)
    tokens, place = torch.randn(EPISODES, FRAMES, TOKENS, DIM), torch.randn(EPISODES, FRAMES, 3) * 3
    place[:, 2 * CHUNK :] = place[:, : FRAMES - 2 * CHUNK]
    return tokens, place


@torch.no_grad()
def test_frame_by_frame_equals_the_whole_episode_at_once(layer):
    tokens, place = walk()
    real = torch.ones(EPISODES, FRAMES)
    real[1, 5] = 0
    whole = layer.training_pass(torch.cat([tokens, tokens], 1), torch.cat([place, place], 1), real)
    memory, read = layer.empty(1), []
    for t in range(FRAMES):
        now = slice(t, t + 1)
        read.append(layer.read(memory, tokens[:1, now], place[:1, now]))
        memory = layer.write(memory, tokens[:1, now], place[:1, now], REAL[:1])
        if (t + 1) % CHUNK == 0:
            memory = layer.learn(memory)
    assert torch.allclose(torch.cat(read, 1), whole[:1, :FRAMES], atol=1e-5)
    assert torch.allclose(whole[:, :FRAMES], whole[:, FRAMES:], atol=1e-5)  # clean and noisy copies read the same
    other = tokens.clone()
    other[1, 5] += 1  # a frame that does not exist is not written
    again = layer.training_pass(torch.cat([other, tokens], 1), torch.cat([place, place], 1), real)
    assert torch.allclose(again[:, FRAMES:], whole[:, FRAMES:], atol=1e-5)


@torch.no_grad()
def test_what_was_written_is_recalled_where_it_was_before_any_training(layer):
    tokens, place = walk()
    memory = layer.empty(EPISODES)
    for t in range(CHUNK):
        memory = layer.write(memory, tokens[:, t : t + 1], place[:, t : t + 1], REAL)
    memory = layer.learn(memory)

    def unexplained(at):
        """Share of what is stored of the first frames' own tokens that is not recalled ``at`` these places."""
        low = layer._low(layer.address(tokens[:, :CHUNK], at))
        recalled = (low @ memory.fast[..., :-1]).transpose(2, 3)
        stored = layer.value(tokens[:, :CHUNK]).unflatten(-1, (layer.heads, layer.size))
        own = (layer.own > 0)[..., None]
        return float(((recalled - stored) * own).square().sum() / (stored * own).square().sum())

    assert unexplained(place[:, :CHUNK]) < 0.35
    assert unexplained(place[:, :CHUNK] + 10) > 0.9


@torch.no_grad()
@pytest.mark.parametrize("kind", ["lora", "recall"])
def test_dreaming_wears_nothing_away_that_was_real_and_still_remembers_what_is_new(layer, kind):
    memory_layer = layer if kind == "lora" else Recall(DIM, places=2, tokens=TOKENS, window=0, features=64)
    tokens, place = walk()

    def shown(memory, show, at, imagined):
        for t in range(CHUNK):
            now = slice(t, t + 1)
            memory = memory_layer.write(memory, show[:, now], at[:, now], torch.full_like(REAL, imagined))
        return memory_layer.learn(memory)

    def moved(before, after, at):
        """Mean square of the change in what is read."""
        old, new = (memory_layer.read(memory, tokens[:, :CHUNK], at) for memory in (before, after))
        return float((new - old).square().mean())

    first = memory_layer.empty(EPISODES)
    for _ in range(4):  # until it is learnt well
        first = shown(first, tokens[:, :CHUNK], place[:, :CHUNK], False)
    wrong = tokens[:, :CHUNK] + torch.randn(EPISODES, CHUNK, TOKENS, DIM)
    worn, dreamt = first, first
    for _ in range(20):
        worn = shown(worn, wrong, place[:, :CHUNK], False)
        dreamt = shown(dreamt, wrong, place[:, :CHUNK], True)
    here, elsewhere = place[:, :CHUNK], place[:, :CHUNK] + 10
    assert moved(first, dreamt, here) < 0.2 * moved(first, worn, here)
    told, dreamt = (shown(first, wrong, elsewhere, imagined) for imagined in (False, True))
    assert moved(first, dreamt, elsewhere) > 0.7 * moved(first, told, elsewhere) > 0


@torch.no_grad()
def test_recall_that_is_full_keeps_what_nothing_else_is_like():
    torch.manual_seed(0)
    layer = Recall(DIM, places=2, tokens=TOKENS, window=0, features=64)
    memory, place = layer.empty(1), torch.randn(1, ROOM, 3) * 20
    place[:, -1] = place[:, 5]
    tokens = torch.zeros(1, ROOM + 2, TOKENS, DIM)
    for t in range(ROOM):
        memory = layer.write(memory, tokens[:, t : t + 1], place[:, t : t + 1], REAL[:1])
    assert memory.number[0, 0].tolist() == list(range(ROOM))
    dreamt = layer.write(memory, tokens[:, :1], place[:, :1] + 50, ~REAL[:1])
    assert torch.equal(dreamt.number, memory.number) and int(dreamt.count) == ROOM + 1
    again = layer.write(dreamt, tokens[:, :1], place[:, 7:8], REAL[:1])
    assert again.number[0, 0].tolist() == [*range(7), ROOM + 1, *range(8, ROOM)]


@torch.no_grad()
def test_a_layer_of_the_beginning_is_told_what_stood_there_first():
    torch.manual_seed(0)
    layer = TempLora(DIM, places=2, tokens=TOKENS, beginning=True, features=64, rank=16)
    tokens, place = torch.randn(2, 60, TOKENS, DIM), torch.randn(2, 60, 3)
    place[..., -1] = (1 + torch.arange(60.0)).log2()
    tokens[1, :4] = tokens[0, :4]  # two episodes that begin alike, and two that go on alike
    other = tokens[:1].clone()
    other[:, :4] = torch.randn(1, 4, TOKENS, DIM)
    asked = tokens[:1, -1:]
    read = []
    for one in (tokens[:1], tokens[1:], other):
        both = torch.cat([one, asked.expand(1, 60, -1, -1)], 1)
        read.append(layer.training_pass(both, torch.cat([place[:1]] * 2, 1), torch.ones(1, 60))[:, -1])
    alike, unlike = ((read[0] - one).square().mean() for one in read[1:])
    assert alike < 0.3 * unlike
