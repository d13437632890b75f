"""The package works from a checkout, installed in either way, and as a wheel in an empty folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
INSIDE = ("envs", "agents", "benchmarks", "configs")
"""Folders of the checkout that an installation has inside the package."""

WHERE = """
import importlib, pathlib, sfvgen_plan
for name in ("sfvgen_plan", "sfvgen_plan.envs", "sfvgen_plan.agents", "sfvgen_plan.benchmarks.results"):
    print(pathlib.Path(importlib.import_module(name).__file__).absolute())
print(pathlib.Path(importlib.import_module("sfvgen_plan.configs").__path__[0]).absolute())
"""


def origins(python, folder, **variables):
    """Where the package and its parts come from for a program that is started in a folder."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | variables
    command = [str(python), "-c", WHERE]
    done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return [Path(line) for line in done.stdout.splitlines()]


@pytest.fixture
def installed(tmp_path):
    """A folder of packages that has the project as an installation lays it out."""
    package = tmp_path / "site" / "sfvgen_plan"
    package.mkdir(parents=True)
    for entry in (ROOT / "sfvgen_plan").iterdir():
        (package / entry.name).symlink_to(entry) if entry.is_dir() else shutil.copy(entry, package)
    for folder in INSIDE:
        (package / folder).symlink_to(ROOT / folder)
    return package.parent


def test_a_checkout_is_used_whole_although_the_package_is_installed(installed, tmp_path):
    for path in origins(sys.executable, ROOT, PYTHONPATH=str(installed)):
        assert path.is_relative_to(ROOT) and not path.is_relative_to(installed)
    for path in origins(sys.executable, tmp_path, PYTHONPATH=str(installed)):
        assert path.is_relative_to(installed / "sfvgen_plan")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the checkout, since setuptools leaves build/ behind."""
    copy = tmp_path_factory.mktemp("source") / "checkout"
    for folder in ("sfvgen_plan", *INSIDE):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    return copy


def pip(*arguments):
    """Without a network: dependencies and setuptools are those of this environment."""
    subprocess.run([sys.executable, "-m", "pip", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    (found,) = folder.glob("*.whl")
    return found


@pytest.mark.slow
def test_the_wheel_holds_code_and_data_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    data = ("sfvgen_plan/checkpoints", "benchmarks/protocols", "benchmarks/report", "configs")
    wanted = {
        path for folder in data for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix != ".pyc"
    }
    wanted |= {path for folder in ("sfvgen_plan", *INSIDE) for path in (ROOT / folder).rglob("*.py")}
    for inside in (path.relative_to(ROOT) for path in wanted):
        name = inside if inside.parts[0] == "sfvgen_plan" else Path("sfvgen_plan") / inside
        assert name.as_posix() in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"sfvgen_plan"}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["wheel", "install", "editable"])
def test_installed_it_runs(how, source, wheel, tmp_path):
    """As a wheel in an empty folder; by ``pip install .`` and ``pip install -e .`` in the checkout, too."""
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    python, site = environment / "bin" / "python", next(environment.glob("lib/*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    what = {"wheel": [wheel], "install": [source], "editable": ["-e", source]}[how]
    pip("--python", python, "install", "-q", "--no-deps", "--no-build-isolation", "--ignore-installed", *what)
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, source):
        expected = source if folder == source or how == "editable" else site
        assert all(path.is_relative_to(expected) for path in origins(python, folder))
        command = [environment / "bin" / "sfvgen-plan", "eval", "--task", "reach-v3", "--agent", "random"]
        options = ["--episodes", "1", "--max-decisions", "2", "--json", "--out", tmp_path / f"run-{folder.name}"]
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        subprocess.run([*command, *options], cwd=folder, env=clean, check=True, capture_output=True)
    bundled = "from sfvgen_plan.catalogue import find_checkpoint; assert find_checkpoint(None).is_dir()"
    subprocess.run([python, "-c", bundled], cwd=empty, env=clean, check=True)
