"""Following demonstrations, and collecting with them, against the stand-in."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sfvgen_plan.agents import rlbench_experts as experts
from sfvgen_plan.agents.behaviour import ExpertAgent
from sfvgen_plan.cli import main
from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.envs.rlbench.env import RLBenchEnv
from sfvgen_plan.envs.rlbench.family import MAX_DISPLACEMENT, MAX_TURN
from sfvgen_plan.envs.rlbench.return_env import RLBenchReturnEnv
from sfvgen_plan.errors import SimulatorError


def demonstration():
    """20 cm along x with the gripper open, a rest, the gripper closes, 10 cm up with a quarter turn about z."""
    along = [[0.01 * t, 0, 1.0, 0, 0, 0, 1] for t in range(21)]
    rest = [along[-1]] * 3
    turns = Rotation.from_euler("z", np.linspace(0, np.pi / 2, 11)[:, None]).as_quat()
    up = [[0.2, 0, 1.0 + 0.01 * t, *turns[t]] for t in range(11)]
    return np.array([*along, *rest, *rest, *up]), np.array([1.0] * 24 + [0.0] * 14)


def follow(follower, pose, decisions, noise=0.0):
    """Execute the follower's advice exactly, with noise added; the last pose and all actions."""
    random, actions = np.random.default_rng(0), []
    for _ in range(decisions):
        actions.append(follower.act(pose))
        moved = np.clip(actions[-1][:6] + noise * random.standard_normal(6), -1, 1)
        turned = Rotation.from_rotvec(MAX_TURN * moved[3:]) * Rotation.from_quat(pose[3:])
        pose = np.concatenate([pose[:3] + MAX_DISPLACEMENT * moved[:3], turned.as_quat()])
        if follower.finished:
            break
    return pose, actions


def test_waypoints_are_within_a_step_and_keep_the_place_where_the_gripper_changes():
    poses, opening = demonstration()
    points = experts.waypoints(poses, opening)
    places = [poses[0], *(point.pose for point in points)]
    for before, after in pairwise(places):
        shift, turn = experts.difference(before, after)
        assert np.abs(shift).max() <= MAX_DISPLACEMENT + 1e-9
        assert np.abs(turn).max() <= MAX_TURN + 1e-9
    closing = next(point for point in points if point.gripper == 0.0)
    assert closing.stop
    np.testing.assert_allclose(closing.pose[:3], [0.2, 0, 1.0])
    assert points[-1].stop
    np.testing.assert_array_equal(points[-1].pose, poses[-1])


def test_the_follower_reaches_the_end_and_closes_the_gripper_only_at_its_place():
    poses, opening = demonstration()
    pose, actions = follow(experts.DemoFollower(poses, opening), poses[0], 60)
    assert np.linalg.norm(pose[:3] - poses[-1][:3]) < 0.03 + 1e-6  # the overshoot
    grippers = [action[6] for action in actions]
    closed = grippers.index(-1.0)
    assert set(grippers[closed:]) == {-1.0}
    assert 4 <= closed < 10
    # It pulls with half steps where it is told to, and gets there from off its path.
    pose, actions = follow(experts.DemoFollower(poses, opening, while_closed=0.5), poses[0], 60)
    assert np.linalg.norm(pose[:3] - poses[-1][:3]) < 0.03 + 1e-6
    moved = np.array([[np.abs(action[:6]).max(), action[6]] for action in actions])
    assert moved[moved[:, 1] > 0, 0].max() == pytest.approx(1.0)
    assert moved[moved[:, 1] < 0, 0].max() == pytest.approx(0.5)
    follower = experts.DemoFollower(poses, opening)
    pose, actions = follow(follower, poses[0] + [0, 0.05, 0, 0, 0, 0, 0], 60, noise=0.3)
    assert follower.finished and len(actions) < 40
    assert np.linalg.norm(pose[:3] - poses[-1][:3]) < 0.1

    follower = experts.DemoFollower(poses, opening)
    for _ in range(100):
        follower.act(poses[0])  # the tip never moves
    assert follower.finished  # what can't be reached is left after a while


def test_noise_spares_gripper_changes_and_never_touches_the_gripper():
    poses, opening = demonstration()
    expert = experts.DemonstratedExpert()
    expert._follower = experts.DemoFollower(poses, opening)
    far, near = (expert.noise_share(SimpleNamespace(state=poses[n])) for n in (0, 20))
    assert far.tolist() == [1.0] * 6 + [0.0] and near.tolist() == [experts.LEAST_NOISE] * 6 + [0.0]


@pytest.mark.usefixtures("fake_rlbench")
def test_collecting_is_the_same_whatever_the_number_of_workers(tmp_path, said):
    command = ("collect", "--task", "rlbench/reach_target", "--episodes", "2", "--decisions", "20", "--size", "16")
    told = [said(*command, "--out", str(tmp_path / workers), "--workers", workers) for workers in ("1", "2")]
    one, two = load_episodes(tmp_path / "1"), load_episodes(tmp_path / "2")
    np.testing.assert_array_equal(one.frames, two.frames)
    np.testing.assert_array_equal(one.actions, two.actions)
    assert told[0]["decisions"] == told[1]["decisions"] == len(one.actions)
    assert one.actions.shape[1] == 7
    assert (one.camera, one.repeat, one.tasks) == ("front+wrist", 1, ["rlbench/reach_target"])
    assert one.seed.tolist() == [100_000, 100_001]
    clean = np.flatnonzero(one.kind == "clean")
    ends = one.action_start[clean] + one.lengths[clean] - 1
    assert one.success[ends].all()  # which is where they end
    for e in clean:
        steps = slice(one.action_start[e], one.action_start[e] + one.lengths[e])
        np.testing.assert_array_equal(one.actions[steps], one.expert_actions[steps])


def test_a_simulator_that_dies_once_costs_nothing_and_one_that_always_does_is_one_line(fake_rlbench, tmp_path, refused):
    command = ["collect", "--task", "rlbench/reach_target", "--out", str(tmp_path / "set"), "--episodes", "2"]
    command += ["--workers", "1", "--size", "16", "--decisions", "5", "--quiet"]
    fake_rlbench.setenv("FAKE_RLBENCH_FAULTS", "step:3:abort")
    line = refused(*command)
    assert "exit code 134" in line and "no episode was finished, and nothing is kept" in line
    assert not list(tmp_path.glob("set*"))
    # One that dies once is started again, and the data is what it would have been.
    fake_rlbench.setenv("FAKE_RLBENCH_ONCE", str(tmp_path / "marker"))
    assert main(command) == 0
    assert (tmp_path / "marker").exists()
    fake_rlbench.delenv("FAKE_RLBENCH_FAULTS")
    assert main([*command[:4], str(tmp_path / "whole"), *command[5:]]) == 0
    whole, again = load_episodes(tmp_path / "whole"), load_episodes(tmp_path / "set")
    np.testing.assert_array_equal(whole.frames, again.frames)


def test_a_task_that_rlbench_never_solves_is_named_and_not_tried_again(monkeypatch):
    env = RLBenchEnv("reach_target", size=16)
    tried = []
    monkeypatch.setattr(env, "demonstrate", tried.append)  # None: no solution
    agent = experts.DemonstratedExpert()
    agent.reset(env.task, 3)
    with pytest.raises(SimulatorError, match="solves none of 10 scenes of rlbench/reach_target, the first 3"):
        agent.begin(env)
    assert len(tried) == len(set(tried)) == 10


@pytest.mark.usefixtures("fake_rlbench")
@pytest.mark.parametrize("seed", [4, 9, 11])  # three, two and one objects; the first drives a joint towards its limit
def test_every_object_is_moved_and_put_back(seed):
    env, agent = RLBenchReturnEnv(pixels=False), ExpertAgent()
    _, info = env.reset(seed=seed)
    agent.reset(env.task, seed)
    truncated = False
    while not (truncated or info["success"]):
        *_, truncated, info = env.step(agent.act(env))
    assert info["success"]
    assert env.moved.all()
    env.close()


def test_the_tip_points_down_with_its_fingers_along_the_sides_of_a_cube():
    for heading in np.linspace(0, 6, 7):
        now = (Rotation.from_euler("z", heading) * Rotation.from_euler("x", np.pi)).as_quat()
        matrix = Rotation.from_quat(experts.downwards(now, 0.0)).as_matrix()
        np.testing.assert_allclose(matrix[:, 2], [0, 0, -1], atol=1e-9)
        assert np.abs(matrix[:2, 0]).max() == pytest.approx(1.0)
        # With the joint in the middle of its range the nearest of the four is best.
        assert matrix[:2, 0] @ [np.cos(heading), np.sin(heading)] > 0.7
    # A joint near its limit is turned back.
    now = np.array([0.0, 1.0, 0.0, 0.0])
    turned = Rotation.from_quat(experts.downwards(now, 2.8)).as_matrix()[:2, 0]
    angle = np.arctan2(turned[1], turned[0]) - np.pi  # counter-clockwise from above takes as much off the joint
    assert angle % (2 * np.pi) == pytest.approx(np.pi / 2)
