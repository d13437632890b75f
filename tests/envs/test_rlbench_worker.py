"""What may run in RLBench's interpreter, and the contract that the stand-in keeps."""

import ast
import os
import sys
from pathlib import Path

import pytest

from sfvgen_plan.envs.rlbench.process import RefusedError, WorkerProcess
from sfvgen_plan.envs.rlbench.settings import WorkerSettings

FOLDER = Path(__file__).resolve().parents[2] / "envs" / "rlbench"
ALLOWED = {"numpy", "scipy", "pyrep", "rlbench", *sys.stdlib_module_names}


@pytest.mark.parametrize("name", ["worker.py", "control.py", "inside.py"])
def test_the_workers_files_import_nothing_of_this_project_and_old_pythons_read_them(name):
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

    def test_it_greets_before_anything_heavy_is_imported(self, fake_rlbench):
        fake_rlbench.setenv("PYTHONPATH", "")
        process = WorkerProcess(WorkerSettings(), (0, 1, 1, 3))
        assert process.call("hello", 10)["python"]
        with pytest.raises(RefusedError) as caught:
            process.call("packages", 10)
        assert caught.value.kind == "no_pyrep"
        process.kill()

    def test_unknown_calls_and_arguments_are_refused_and_it_lives_on(self, process):
        for name, arguments in (("fly", {}), ("hello", {"height": 3}), ("__init__", {}), ("step", {"action": [0]})):
            with pytest.raises(RefusedError):
                process.call(name, 10, **arguments)
        assert process.call("hello", 10)["python"]

    def test_close_ends_it_with_code_0(self, process):
        process.call("close", 10)
        assert process._popen.wait(10) == 0

    def test_nothing_of_its_folder_hides_other_modules(self, fake_rlbench, tmp_path):
        (tmp_path / "tasks.py").write_text("mine = True")
        (tmp_path / "pyrep.py").write_text("import tasks; __version__ = str(tasks.mine)")
        fakes = os.environ["PYTHONPATH"]
        fake_rlbench.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{fakes}")
        other = WorkerProcess(WorkerSettings(), (0, 1, 1, 3))
        assert other.call("packages", 10)["pyrep"] == "True"  # there is a tasks.py beside the worker, too
        other.kill()

    def test_what_it_prints_does_not_disturb_the_protocol(self, fake_rlbench, tmp_path):
        (tmp_path / "sitecustomize.py").write_text("import os; os.write(1, b'x' * 100000 + b'\\nlast words\\n')")
        fake_rlbench.setenv("PYTHONPATH", str(tmp_path))
        process = WorkerProcess(WorkerSettings(), (0, 1, 1, 3))
        assert process.call("hello", 10)["python"]
        assert process._last_words() == " (last words)"
        process.kill()
