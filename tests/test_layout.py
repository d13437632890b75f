"""The shape of the source tree: what may import what, and that all of it is packaged."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAPPED = ("envs", "agents", "benchmarks", "configs")
FOLDERS = {"sfvgen_plan": "sfvgen_plan"} | {f"sfvgen_plan.{folder}": folder for folder in MAPPED}
RANK = {"sfvgen_plan": 0, **{f"sfvgen_plan.{name}": 1 + n for n, name in enumerate((*MAPPED[:3], "cli"))}}
"""A package imports from its own rank and below."""


def sources(*folders):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imported_modules(path):
    """Every module a file imports, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            # `from sfvgen_plan import envs` names a package, too.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_of(module):
    owners = [package for package in RANK if module == package or module.startswith(f"{package}.")]
    return max(owners, key=len, default=None)


@pytest.mark.parametrize("folder", MAPPED)
def test_folders_are_importable_only_inside_the_namespace(folder, tmp_path):
    # Others may own the name: some wheels bring a folder `benchmarks`.
    code = (
        f"import sfvgen_plan.{folder}, importlib.util; spec = importlib.util.find_spec({folder!r}); "
        f"assert spec is None or {str(ROOT / folder)!r} not in list(spec.submodule_search_locations or ())"
    )
    # What is installed is asked, not what the caller's own path has besides.
    installed = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=installed, check=True)


def test_no_file_imports_a_folder_by_its_bare_name():
    wrong = [
        f"{path.relative_to(ROOT)}: {module}"
        for path in sources(*FOLDERS.values(), "tests", "tools")
        for module in imported_modules(path)
        if module.partition(".")[0] in MAPPED
    ]
    assert not wrong, "write `from sfvgen_plan.envs import ...`"


def test_imports_point_one_way():
    wrong = []
    for folder in FOLDERS.values():
        for path in sources(folder):
            if path == ROOT / "sfvgen_plan" / "__init__.py":
                continue  # names the public parts of all, and imports them when they are asked for
            inside = path.relative_to(ROOT).with_suffix("").parts
            package = package_of(".".join(inside if inside[0] == "sfvgen_plan" else ("sfvgen_plan", *inside)))
            for module in imported_modules(path):
                other = package_of(module)
                if other is not None and RANK[other] > RANK[package or ""]:
                    wrong.append(f"{path.relative_to(ROOT)} ({package}) imports {module}")
    assert not wrong, "cli -> benchmarks -> agents -> envs -> sfvgen_plan"


def test_every_folder_with_code_is_a_package_that_is_listed_in_pyproject():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = set()
    for package, folder in FOLDERS.items():
        for path in sources(folder):
            assert (path.parent / "__init__.py").exists(), path
            found.add(".".join((package, *path.parent.relative_to(ROOT / folder).parts)))
    assert found == listed
