"""What ``import sfvgen_plan`` gives, and that it gives it fast."""

import ast
import inspect
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import sfvgen_plan

PACKAGE = Path(sfvgen_plan.__file__).parent


def test_the_import_is_fast_and_help_tells_what_there_is():
    code = "import sys, sfvgen_plan; sys.exit(len({'torch', 'numpy', 'gymnasium'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
    told = pydoc.plain(pydoc.render_doc(sfvgen_plan))
    for name in sfvgen_plan.__all__:
        assert name in told.partition("PACKAGE CONTENTS")[0], name


@pytest.mark.parametrize("name", sfvgen_plan.__all__)
def test_public_names_are_documented(name):
    found = getattr(sfvgen_plan, name)
    assert name in dir(sfvgen_plan)
    assert found.__doc__ and not found.__doc__.startswith(f"{name}(")  # that would be the one dataclasses write
    if inspect.isclass(found):
        own = [value for key, value in vars(found).items() if inspect.isfunction(value) and key[0] != "_"]
        assert all(inspect.getdoc(value) for value in own)


def test_type_checkers_see_the_names_that_there_are():
    assert (PACKAGE / "py.typed").exists()
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {item.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for item in node.names}
    assert seen == {name: f"sfvgen_plan.{module}" for name, module in sfvgen_plan._LAZY.items()}


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="'sfvgen_plan' has no attribute 'nothing'"):
        sfvgen_plan.nothing  # noqa: B018
