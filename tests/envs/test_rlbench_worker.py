"""What may run in RLBench's interpreter, and the contract that the stand-in keeps."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sfvgen_plan.envs.rlbench.process import RefusedError, WorkerProcess
from sfvgen_plan.envs.rlbench.settings import WorkerSettings
from sfvgen_plan.envs.rlbench.worker import PROTOCOL

FOLDER = Path(__file__).resolve().parents[2] / "envs" / "rlbench"
ALLOWED = {"numpy", "scipy", "pyrep", "rlbench", *sys.stdlib_module_names}


@pytest.mark.parametrize("name", ["worker.py", "control.py", "inside.py"])
def test_the_workers_files_import_nothing_of_this_project_and_old_pythons_read_them(name: str):
    tree = ast.parse((FOLDER / name).read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported <= ALLOWED


@pytest.mark.usefixtures("fake_rlbench")
class TestProtocol:
    """Calls to a worker without an environment around it."""

    @pytest.fixture
    def process(self):
        process = WorkerProcess(WorkerSettings(), (0, 1, 1, 3))
        yield process
        process.kill()

    def test_it_greets_before_anything_heavy_is_imported(self, fake_rlbench: pytest.MonkeyPatch):
        fake_rlbench.setenv("PYTHONPATH", "")
        process = WorkerProcess(WorkerSettings(), (0, 1, 1, 3))
        hello = process.call("hello", 10)
        assert hello["protocol"] == PROTOCOL
        with pytest.raises(RefusedError) as caught:
            process.call("packages", 10)
        assert caught.value.kind == "no_pyrep"
        process.kill()

    def test_unknown_calls_and_arguments_are_refused_and_it_lives_on(self, process: WorkerProcess):
        for name, arguments in (("fly", {}), ("hello", {"height": 3}), ("__init__", {}), ("step", {"action": [0]})):
            with pytest.raises(RefusedError):
                process.call(name, 10, **arguments)
        assert process.call("hello", 10)["protocol"] == PROTOCOL

    def test_close_ends_it_with_code_0(self, process: WorkerProcess):
        process.call("close", 10)
        assert process._popen.wait(10) == 0

    def test_nothing_of_its_folder_hides_other_modules(self, fake_rlbench: pytest.MonkeyPatch, tmp_path: Path):
        (tmp_path / "tasks.py").write_text("mine = True")
        (tmp_path / "pyrep.py").write_text("import tasks; __version__ = str(tasks.mine)")
        fakes = os.environ["PYTHONPATH"]
        fake_rlbench.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{fakes}")
        other = WorkerProcess(WorkerSettings(), (0, 1, 1, 3))
        assert other.call("packages", 10)["pyrep"] == "True"  # there is a tasks.py beside the worker, too
        other.kill()

    def test_what_it_prints_does_not_disturb_the_protocol(self, fake_rlbench: pytest.MonkeyPatch, tmp_path: Path):
        (tmp_path / "sitecustomize.py").write_text("import os; os.write(1, b'x' * 100000 + b'\\nlast words\\n')")
        fake_rlbench.setenv("PYTHONPATH", str(tmp_path))
        process = WorkerProcess(WorkerSettings(), (0, 1, 1, 3))
        assert process.call("hello", 10)["protocol"] == PROTOCOL
        assert process._last_words() == " (last words)"
        process.kill()


@pytest.mark.usefixtures("fake_rlbench")
def test_the_stand_in_keeps_the_contract(fake_rlbench: pytest.MonkeyPatch):
    """The behaviours of the real package that adapters stumble over."""
    code = """
        import json, numpy as np, os
        from pyrep.const import RenderMode
        from rlbench.action_modes.action_mode import MoveArmThenGripper
        from rlbench.action_modes.arm_action_modes import ArmActionMode
        from rlbench.action_modes.gripper_action_modes import Discrete
        from rlbench.environment import Environment
        from rlbench.observation_config import ObservationConfig
        from rlbench.utils import InvalidTaskName, name_to_task_class

        def raised(call, *arguments):
            try:
                call(*arguments)
            except Exception as error:
                return type(error).__name__

        class Still(ArmActionMode):
            def action(self, scene, action):
                scene.step()

            def action_shape(self, scene):
                return (7,)

        mode = MoveArmThenGripper(Still(), Discrete())
        config = ObservationConfig()
        config.set_all_high_dim(False)
        config.front_camera.rgb = True
        first, second = Environment(mode, obs_config=config), Environment(mode, obs_config=config)
        first.launch()
        found = {"two at once": raised(second.launch)}
        found["bounds"] = raised(mode.action_bounds)
        found["action_shape"] = list(first.action_shape)
        found["unknown task"] = raised(name_to_task_class, "reach_targte")
        task = first.get_task(name_to_task_class("reach_target"))
        found["early step"] = raised(task.step, np.zeros(8))
        found["variation"] = raised(task.set_variation, 20)
        np.random.seed(3)
        descriptions, observation = task.reset()
        np.random.seed(3)
        found["same seed"] = bool((task.reset()[1].front_rgb == observation.front_rgb).all())
        found["descriptions"] = type(descriptions).__name__
        found["off"] = [observation.wrist_rgb is None, observation.front_depth is None]
        found["front"] = [str(observation.front_rgb.dtype), list(observation.front_rgb.shape)]
        found["step"] = len(task.step(np.array([0, 0, 0, 0, 0, 0, 1, 3.0])))
        found["shape"] = raised(task.step, np.zeros(3))
        demo, = task.get_demos(1, live_demos=True)
        found["reset_to_demo"] = raised(task.reset_to_demo, demo)
        print(json.dumps(found))
    """
    variables = {**os.environ, "LD_LIBRARY_PATH": os.environ["COPPELIASIM_ROOT"]}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=variables, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == {
        "two at once": "PyRepError",
        "bounds": "NotImplementedError",
        "action_shape": [8],
        "unknown task": "InvalidTaskName",
        "early step": "RuntimeError",
        "variation": "TaskEnvironmentError",
        "same seed": True,
        "descriptions": "list",
        "off": [True, True],
        "front": ["uint8", [128, 128, 3]],
        "step": 3,
        "shape": "InvalidActionError",
        "reset_to_demo": "KeyError",
    }
    for missing, message in (("COPPELIASIM_ROOT", "PyRepError"), ("LD_LIBRARY_PATH", "ImportError")):
        left = {name: value for name, value in variables.items() if name != missing}
        failed = subprocess.run([sys.executable, "-c", "import pyrep"], env=left, capture_output=True, text=True)
        assert message in failed.stderr
    del variables["DISPLAY"]
    launch = "from pyrep import PyRep; PyRep().launch()"
    for variables["QT_QPA_PLATFORM"], code in (("xcb", -6), ("offscreen", 0)):
        assert subprocess.run([sys.executable, "-c", launch], env=variables, capture_output=True).returncode == code
