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


@pytest.fixture
def start(fake_rlbench):
    """Starts a worker without an environment around it, which finds modules on ``path``."""
    started = []

    def start(path):
        fake_rlbench.setenv("PYTHONPATH", str(path))
        started.append(WorkerProcess(WorkerSettings(), images=False))
        return started[-1]

    yield start
    for process in started:
        process.kill()


def test_it_greets_before_anything_heavy_is_imported(start):
    process = start("")
    assert process.call("hello", 10)["python"]
    with pytest.raises(RefusedError) as caught:
        process.call("packages", 10)
    assert caught.value.kind == "no_pyrep"


def test_nothing_of_its_folder_hides_other_modules_and_unknown_calls_are_refused(start, tmp_path):
    fakes = os.environ["PYTHONPATH"]
    (tmp_path / "control.py").write_text("mine = True")
    (tmp_path / "pyrep").mkdir()
    (tmp_path / "pyrep" / "__init__.py").write_text(
        f"import control; __path__.append('{fakes}/pyrep'); exec(open('{fakes}/pyrep/__init__.py').read())\n"
        "__version__ = str(control.mine)"
    )
    process = start(f"{tmp_path}{os.pathsep}{fakes}")
    assert process.call("packages", 60)["pyrep"] == "True"  # there is a control.py beside the worker, too
    for name, arguments in (("fly", {}), ("plan", {"height": 3}), ("__init__", {}), ("step", {"action": [0]})):
        with pytest.raises(RefusedError):
            process.call(name, 10, **arguments)
    assert process.call("hello", 10)["python"]  # it lives on


def test_what_it_prints_does_not_disturb_the_protocol(start, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import os; os.write(1, b'x' * 100000 + b'\\nlast words\\n')")
    process = start(tmp_path)
    assert process.call("hello", 10)["python"]
    assert process._last_words() == " (last words)"
