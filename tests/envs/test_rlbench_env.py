"""RLBench behind the common interface, played against the stand-in."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from sfvgen_plan.envs.rlbench.env import RLBenchEnv
from sfvgen_plan.envs.rlbench.process import SimulatorDiedError, SimulatorError
from sfvgen_plan.envs.rlbench.settings import WorkerSettings
from sfvgen_plan.errors import UserError

pytestmark = pytest.mark.usefixtures("fake_rlbench")

STILL = np.array([0, 0, 0, 0, 0, 0, 1], np.float32)


@pytest.fixture(scope="module")
def reach(fake_rlbench_for_all):
    env = RLBenchEnv("reach_target", size=64)
    yield env
    env.close()


def gone(pid):
    """Whether the process has ended; waits a moment for it."""
    for _ in range(300):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]:
            return True
        time.sleep(0.01)
    return False


def faulty(fake_rlbench, faults, **settings):
    fake_rlbench.setenv("FAKE_RLBENCH_FAULTS", faults)
    return RLBenchEnv("reach_target", size=64, worker=WorkerSettings(**settings))


def test_the_same_seed_gives_the_same_scene_and_variation_however_much_was_simulated(reach):
    frame, info = reach.reset(seed=3)
    reach.step(np.ones(7))
    other, _ = reach.reset(seed=4)
    again, again_info = reach.reset(seed=3)
    np.testing.assert_array_equal(frame, again)
    np.testing.assert_array_equal(info["state"], again_info["state"])
    np.testing.assert_array_equal(reach.demonstrate(3)[1]["state"], info["state"])
    assert info["variation"] == again_info["variation"] < 5
    assert (frame != other).any() and (frame[:64] != frame[64:]).any()


def test_a_task_that_needs_a_fresh_simulator_gets_one():
    env = RLBenchEnv("pour_from_cup_to_cup", size=64)
    first, _ = env.reset(seed=3)
    pid = env.worker_pid
    np.testing.assert_array_equal(first, env.demonstrate(3)[0])
    assert env.worker_pid != pid
    env.close()


def test_the_tip_moves_and_turns_along_the_worlds_axes_and_stays_in_the_workspace(reach):
    _, info = reach.reset(seed=0)
    before = info["estimates"][:3]
    _, _, _, _, info = reach.step(np.array([-1, 0.5, -1, 0, 0, 0, 1]))
    np.testing.assert_allclose(info["estimates"][:3] - before, [-0.05, 0.025, -0.05], atol=0.005)
    before = info["estimates"][4:7]  # the tip's x axis
    _, _, _, _, info = reach.step(np.array([-0.5, 0, 0, 0, 0, 1, 1]))
    angle = np.arccos(np.clip(np.dot(before, info["estimates"][4:7]), -1, 1))
    assert angle == pytest.approx(0.25, abs=0.02)
    heights = [reach.step(np.array([-0.1, 0, -1, 0, 0, 0, 1]))[4]["estimates"][2] for _ in range(16)]
    assert heights[0] - heights[1] > 0.04 and heights[-1] > 0.74


def test_the_gripper_follows_the_sign_and_success_comes_at_the_target(reach):
    _, info = reach.reset(seed=1)
    assert info["estimates"][3] == 1.0
    _, _, _, _, info = reach.step(np.array([0, 0, 0, 0, 0, 0, -0.2]))
    assert info["estimates"][3] == 0.0
    for _ in range(30):
        gap = reach.task_low_dim_state - info["estimates"][:3]
        _, reward, terminated, _, info = reach.step(np.array([*np.clip(gap / 0.05, -1, 1), 0, 0, 0, 1]))
        if info["success"]:
            break
    assert (reward, terminated, info["success_latched"]) == (1.0, False, True)
    for _ in range(4):
        _, reward, _, _, info = reach.step(np.array([0, 0, 1, 0, 0, 0, 1]))
    assert (reward, info["success"], info["success_latched"]) == (0.0, False, True)


def test_without_pixels_it_needs_no_display_and_a_demonstration_solves_the_scene(fake_rlbench):
    fake_rlbench.delenv("DISPLAY")
    env = RLBenchEnv("pick_and_lift", size=64, pixels=False)
    frame, plain = env.reset(seed=7)
    _, info, poses, opened = env.demonstrate(7)
    assert not frame.any() and plain["state"].any()
    np.testing.assert_array_equal(info["state"], plain["state"])
    assert poses.shape == (len(opened), 7)
    assert set(opened) == {0.0, 1.0}
    env.close()


def test_bad_arguments_are_named_and_a_variation_can_be_chosen_which_must_exist(reach):
    with pytest.raises(UserError, match="did you mean rlbench/reach_target"):
        RLBenchEnv("reach_targte")
    with pytest.raises(UserError, match="repeat=5 has no meaning"):
        RLBenchEnv("reach_target", repeat=5)
    with pytest.raises(UserError, match="only the fork"):
        RLBenchEnv("slide_block_to_color_target", size=64, pixels=False).reset(seed=0)
    _, info = reach.reset(seed=0, options={"variation": 19})
    assert info["variation"] == 19
    assert "19" in info["instruction"] and info["instruction"] == reach.instruction
    with pytest.raises(UserError, match="variation=20 is out of range; rlbench/reach_target has 0 to 19"):
        reach.reset(seed=0, options={"variation": 20})


@pytest.mark.parametrize(("fault", "code"), [("abort", 134), ("kill", 137)])
def test_a_simulator_that_dies_is_an_error_and_the_next_reset_starts_another(fake_rlbench, fault, code):
    env = faulty(fake_rlbench, f"step:2:{fault}")
    env.reset(seed=0)
    env.step(STILL)
    pid = env.worker_pid
    with pytest.raises(SimulatorDiedError, match=f"exit code {code} during 'step'") as caught:
        env.step(STILL)
    assert caught.value.exit_code == code
    assert pid is not None and gone(pid)
    with pytest.raises(SimulatorError, match="call reset"):
        env.step(STILL)
    env.reset(seed=0)
    env.step(STILL)
    env.close()


@pytest.mark.parametrize(
    ("fault", "settings", "message"),
    [
        ("launch:1:hang", {"launch_seconds": 1.0}, "did not answer 'launch' within"),
        ("step:1:hang", {"step_seconds": 1.0}, "did not answer 'step' within"),
        ("reset:1:task", {}, "TaskEnvironmentError: could not place"),
    ],
)
def test_a_simulator_that_hangs_or_fails_is_stopped(fake_rlbench, fault, settings, message):
    env = faulty(fake_rlbench, fault, **settings)
    with pytest.raises(SimulatorError, match=message):
        env.reset(seed=0)
        env.step(STILL)
    assert env.worker_pid is None


def test_closing_ends_the_process_even_one_that_hangs_in_shutdown(fake_rlbench):
    env = faulty(fake_rlbench, "shutdown:1:hang", close_seconds=0.2)
    env.reset(seed=0)
    pid = env.worker_pid
    env.close()
    env.close()
    assert pid is not None and gone(pid)


@pytest.mark.parametrize("faults", ["step:1:hang", "step:1:seize"])
def test_no_worker_outlives_a_killed_owner(fake_rlbench, faults):
    fake_rlbench.setenv("FAKE_RLBENCH_FAULTS", faults)
    code = """
        import numpy as np
        from sfvgen_plan.envs.rlbench.env import RLBenchEnv
        env = RLBenchEnv("reach_target", size=64)
        env.reset(seed=0)
        print(env.worker_pid, flush=True)
        while True:
            env.step(np.zeros(7))
    """
    owner = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    assert gone(pid)
