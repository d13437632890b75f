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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems bring their own OpenGL")
def test_a_library_is_chosen_or_the_error_names_the_command(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert gl_backend() == "glfw", "what the user chose stays"
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setattr(rendering, "_has_library", lambda name: name == "OSMesa")
    assert gl_backend() == os.environ["MUJOCO_GL"] == "osmesa"
    monkeypatch.setattr(rendering, "_has_library", lambda name: False)
    for wanted in ("", "egl"):
        monkeypatch.setenv("MUJOCO_GL", wanted)
        with pytest.raises(UserError, match="apt-get install"):
            gl_backend()


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
