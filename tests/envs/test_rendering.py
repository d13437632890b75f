"""Pictures: upright, with the goal marker in them, the same every time."""

import os
import subprocess
import sys

import numpy as np
import pytest

from sfvgen_plan.envs import rendering
from sfvgen_plan.envs.metaworld.env import MetaworldEnv
from sfvgen_plan.envs.rendering import FrameRenderer, gl_backend
from sfvgen_plan.errors import UserError


@pytest.fixture(scope="module")
def env():
    env = MetaworldEnv("reach-v3", pixels=False)
    env.reset(seed=0)
    return env


@pytest.fixture
def renderer(env):
    renderer = FrameRenderer(env.raw.model, 128, "corner4")
    yield renderer
    renderer.close()


def test_corner_view_is_upright_and_not_mirrored(env, renderer):
    """The robot's red base stands at the lower left, the floor's grey background is at the top."""
    frame = renderer.render(env.raw.data).astype(int)
    red = frame[..., 0] - frame[..., 1:].max(-1)
    assert red[96:, :32].mean() > 25
    assert np.abs(frame[:5, 64:] - frame[:5, 64:].mean(-1, keepdims=True)).max() < 10
    assert red[:32, 96:].mean() < 5


def test_goal_marker_is_visible(env, renderer):
    """Moving the red marker changes a handful of pixels by a lot."""
    with_goal = renderer.render(env.raw.data).astype(int)
    site = env.raw.model.site("goal").id
    position = env.raw.data.site_xpos[site].copy()
    env.raw.data.site_xpos[site] = (0, 0, -10)
    without = renderer.render(env.raw.data).astype(int)
    env.raw.data.site_xpos[site] = position
    changed = np.abs(with_goal - without).max(-1) > 40
    assert 5 <= changed.sum() <= 40


def test_other_cameras_keep_their_orientation(env):
    """From above, the robot (at y = 0) is at the lower end of the picture."""
    renderer = FrameRenderer(env.raw.model, 32, "topview")
    frame = renderer.render(env.raw.data)
    renderer.close()
    assert frame.shape == (32, 32, 3)
    assert frame.std() > 10


def test_unknown_camera_names_the_nearest(env):
    with pytest.raises(UserError, match=r"camera='corner9'.*corner"):
        FrameRenderer(env.raw.model, 16, "corner9")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems bring their own OpenGL")
class TestBackend:
    def test_first_library_found_is_chosen(self, monkeypatch):
        monkeypatch.setenv("MUJOCO_GL", "")
        monkeypatch.setattr(rendering, "_has_library", lambda name: name == "OSMesa")
        assert gl_backend() == "osmesa"
        assert os.environ["MUJOCO_GL"] == "osmesa"

    def test_a_choice_of_the_user_is_kept(self, monkeypatch):
        monkeypatch.setenv("MUJOCO_GL", "glfw")
        assert gl_backend() == "glfw"

    @pytest.mark.parametrize("wanted", ["", "egl", "osmesa"])
    def test_without_a_library_the_error_names_the_command(self, monkeypatch, wanted):
        monkeypatch.setenv("MUJOCO_GL", wanted)
        monkeypatch.setattr(rendering, "_has_library", lambda name: False)
        with pytest.raises(UserError, match="apt-get install") as error:
            gl_backend()
        assert "\n" not in str(error.value)


def test_state_only_environments_need_no_library():
    code = (
        "import sfvgen_plan.envs.rendering as r; r._has_library = lambda name: False\n"
        "from sfvgen_plan.envs.metaworld.env import MetaworldEnv\n"
        "env = MetaworldEnv('reach-v3', pixels=False)\n"
        "env.reset(seed=0)\n"
        "from sfvgen_plan.errors import UserError\n"
        "try: env.render()\n"
        "except UserError: print('refused')"
    )
    clean = {name: value for name, value in os.environ.items() if name != "MUJOCO_GL"}
    result = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True)
    assert result.stdout.strip() == "refused", result.stderr
