"""The game without its page: two worlds that stay together, and ways back that are exact."""

import numpy as np
import pytest
import torch

from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.envs.metaworld.env import MetaworldEnv
from sfvgen_plan.envs.play.controls import CLOSED, MOVES, OPEN, Controls
from sfvgen_plan.envs.play.drawing import curves, headline, stage
from sfvgen_plan.envs.play.session import LONGEST, NAMES, Session
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import load_checkpoint

torch.set_num_threads(1)
ACTIONS = np.random.default_rng(0).uniform(-1, 1, (6, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def checkpoint(small_checkpoint):
    return load_checkpoint(small_checkpoint)


@pytest.fixture(scope="module")
def shared(checkpoint):
    with_memory_soon = {"memory_every": 2, "sampler_steps": 1}
    session = Session("reach-v3", checkpoint, **with_memory_soon)
    yield session
    session.close()


@pytest.fixture
def game(shared):
    """A game at its start, without memory."""
    shared.set_memory(False)
    shared.reset(0)
    return shared


def play(game, actions=ACTIONS):
    """The moments that the actions lead to."""
    return [game.step(action) for action in actions]


def looks(moment):
    return np.concatenate([moment.real.frame, moment.imagined.frame])


def same(ours, theirs):
    rewards = [[(m.real.reward, m.imagined.reward) for m in moments] for moments in (ours, theirs)]
    return rewards[0] == rewards[1] and all(
        np.array_equal(looks(a), looks(b)) for a, b in zip(ours, theirs, strict=True)
    )


def test_both_worlds_do_what_their_environments_do(game, checkpoint):
    real = MetaworldEnv("reach-v3", checkpoint.size, checkpoint.camera, checkpoint.repeat)
    imagined = ImaginedEnv("reach-v3", checkpoint, sampler_steps=1)
    frame, _ = real.reset(seed=0)
    seen, _ = imagined.reset(seed=0, options={"frames": frame})
    assert np.array_equal(looks(game.moment), np.concatenate([frame, seen]))
    assert (game.moment.real.reward, game.moment.imagined.reward, game.moment.action) == (None, None, None)
    for n, action in enumerate(ACTIONS, 1):
        frame, reward, _, _, info = real.step(action)
        seen, expected, _, _, told = imagined.step(action)
        moment = game.step(action)
        assert np.array_equal(looks(moment), np.concatenate([frame, seen]))
        assert (moment.real.reward, moment.imagined.reward, moment.decision) == (reward, expected, n)
        assert (moment.real.success, moment.imagined.probability) == (info["success"], told["success_probability"])
    real.close()


@pytest.mark.parametrize("memory", [False, True])
def test_after_a_rewind_the_same_actions_lead_to_the_same_frames(game, memory):
    game.set_memory(memory)
    first = play(game)
    assert game.rewind(4) is game.branch.moments[2]
    assert same(play(game, ACTIONS[2:]), first[2:])
    game.rewind(6)
    assert game.moment.decision == 0
    assert same(play(game), first)


def test_what_lay_ahead_stays_until_another_step(game):
    first = play(game)
    game.rewind(3)
    assert game.go_to(6) is first[-1]
    game.go_to(2)
    other = game.step(-ACTIONS[2])
    assert [moment.decision for moment in game.branch.moments] == [0, 1, 2, 3]
    assert not np.array_equal(looks(other), looks(first[2]))
    with pytest.raises(UserError, match=r"decision=6.*0 to 3"):
        game.go_to(6)


def test_forks_leave_each_other_alone(game):
    first = play(game)
    game.rewind(4)
    assert (game.fork(), game.name, game.branches) == ("B", "B", ["A", "B"])
    second = play(game, -ACTIONS[2:4])
    assert [moment.decision for moment in game.branch.moments] == [0, 1, 2, 3, 4]
    assert game.switch("A").decision == 2  # where it was left
    assert same(play(game, ACTIONS[2:]), first[2:])
    assert game.switch("B") is second[-1]
    game.rewind(2)
    assert same(play(game, -ACTIONS[2:4]), second)


def test_memory_is_turned_on_and_off_in_the_middle(game):
    play(game, ACTIONS[:3])
    game.fork()
    before = game.moment
    moment = game.set_memory(True)
    assert (moment.memory, moment.learnt, moment.decision) == (True, 0, 3)
    assert np.array_equal(looks(moment), looks(before))
    learning = play(game, ACTIONS[3:])
    assert [m.learnt for m in learning] == [1, 1, 2]
    assert same([game.switch("A")], [before])
    assert not game.memory
    plain = play(game, ACTIONS[3:])
    # The real world is the same in both; until something was learnt, the imagined is, too.
    assert all(np.array_equal(a.real.frame, b.real.frame) for a, b in zip(plain, learning, strict=True))
    assert np.abs(plain[0].imagined.frame.astype(int) - learning[0].imagined.frame).max() <= 1
    assert not np.array_equal(plain[1].state.episodes.imagination.context[:, -1],
                              learning[1].state.episodes.imagination.context[:, -1])  # fmt: skip
    game.switch("B")
    assert game.rewind(2).learnt == 1
    forgotten = game.set_memory(False)
    assert (forgotten.memory, forgotten.learnt, len(game.branch.moments)) == (False, 0, 5)
    game.set_memory(True)
    assert game.moment.learnt == 0


def test_going_on_without_memory_is_as_if_there_never_was_one(game):
    game.set_memory(True)
    game.set_memory(False)
    toggled = play(game)
    game.reset(0)
    assert same(play(game), toggled)


def test_several_decisions_at_once(game):
    one_by_one = [game.step(ACTIONS[0]) for _ in range(3)]
    game.reset(0)
    assert game.step(ACTIONS[0], times=3).decision == 3
    assert same(game.branch.moments[1:], one_by_one)


def test_a_reset_begins_anew(game):
    start = game.moment
    play(game, ACTIONS[:2])
    game.fork()
    again = game.reset()
    assert (game.branches, game.name, game.moment.decision) == (["A"], "A", 0)
    assert same([again], [start])
    other = game.reset(3.0)
    assert game.seed == 3
    assert not np.array_equal(other.real.frame, start.real.frame)
    game.set_memory(True)
    assert game.reset().memory


def test_values_outside_are_clipped(game):
    wild = game.step([9, -9, 0, 0])
    game.reset()
    assert same([game.step([1, -1, 0, 0])], [wild])


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda game: game.step([0, 0, 0]), r"shape \(3,\).*shape \(4,\)"),
        (lambda game: game.step([0, 0, 0, float("nan")]), "not finite"),
        (lambda game: game.step("up"), "action='up' is no array of numbers"),
        (lambda game: game.step([0, 0, 0, 0], times=0), "times=0"),
        (lambda game: game.step([0, 0, 0, 0], times=LONGEST + 1), f"beyond {LONGEST}"),
        (lambda game: game.rewind(), "decisions=1 is more than the 0 taken"),
        (lambda game: game.rewind(0), "decisions=0"),
        (lambda game: game.go_to(-1), "decision=-1"),
        (lambda game: game.switch("Z"), "branch='Z' is unknown"),
        (lambda game: game.reset(-1), "seed=-1"),
        (lambda game: game.reset(0.5), "seed=0.5"),
        (lambda game: game.reset("x"), "seed='x'"),
        (lambda game: game.reset(float("inf")), "seed=inf"),
        (lambda game: [game.fork() for _ in NAMES], f"branches={len(NAMES)}"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(game, attempt, message):
    start = game.moment
    with pytest.raises(UserError, match=message):
        attempt(game)
    assert game.moment is start
    assert len(game.branch.moments) == 1


def test_tasks_are_checked(checkpoint):
    with pytest.raises(UserError, match=r"task='reach'.*reach-v3"):
        Session("reach", checkpoint)
    with pytest.raises(UserError, match=r"task='door-open-v3' is not in the checkpoint"):
        Session("door-open-v3", checkpoint)
    Session("metaworld/push-v3", checkpoint).close()


def test_no_world_goes_on_without_the_other(game, monkeypatch):
    play(game, ACTIONS[:2])
    with monkeypatch.context() as patched:
        patched.setattr(game._imagined[False], "step", lambda action: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            game.step(ACTIONS[2])
    interrupted = play(game, ACTIONS[2:])
    game.reset(0)
    assert same(play(game)[2:], interrupted)


def fingers(frame):
    """Middle (x, y) of the gripper's cyan finger, in pixels."""
    red, green, blue = (frame[..., n].astype(int) for n in range(3))
    rows, columns = np.nonzero((green > 150) & (blue > 150) & (red < 100))
    assert len(rows) > 3
    return np.array([columns.mean(), rows.mean()])


@pytest.mark.parametrize("camera", ["corner4", "corner2"])
def test_moves_go_where_the_picture_shows(camera):
    env = MetaworldEnv("reach-v3", 256, camera)
    went = {}
    for move in MOVES:
        before = fingers(env.reset(seed=0)[0])
        controls = Controls.of(env)
        for _ in range(3):
            frame = env.step(controls.action(move))[0]
        went[move] = fingers(frame) - before
    env.close()
    assert went["right"][0] > 5 > -5 > went["left"][0]
    assert went["away"][1] < -2 and went["near"][1] > 2
    assert went["up"][1] < -5 and went["down"][1] > 5
    assert np.abs(went["stay"]).max() < 2


def test_the_strength_of_a_move(game):
    controls = Controls.of(game.real)
    for move in set(MOVES) - {"stay"}:
        action = controls.action(move, 0.5, CLOSED)
        assert np.abs(action[:3]).max() == pytest.approx(0.5)
        assert action[3] == 1.0
    assert controls.action("stay").tolist() == [0, 0, 0, OPEN]


def test_what_is_drawn(game):
    play(game, ACTIONS[:2])
    game.set_memory(True)
    game.step(ACTIONS[2])
    drawn = stage(game)
    assert drawn.count("data:image/png;base64,") == 2
    assert "memory on" in drawn
    assert f"{game.moment.psnr:.1f} dB" in drawn
    assert '<b id="play-decision">3</b>' in headline(game)
    game.rewind()
    lines = curves(game.branch.moments, game.branch.at)
    assert lines.count("<circle") == 6
    assert "nan" not in lines
