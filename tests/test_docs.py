"""The site is made without a warning, asks nothing of other machines, and shows code that runs."""

import re
from pathlib import Path

import pytest

import sfvgen_plan
from sfvgen_plan.benchmarks.protocols import protocol_names

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
LOADED = re.compile(r"""<(?:script|link|img|iframe|video|source)\b[^>]*?(?:src|href)="([^"]*)""")


@pytest.mark.filterwarnings("ignore")  # of what Sphinx 11 will bring
def test_the_site_is_made_and_stands_by_itself(tmp_path, capfd):
    build = pytest.importorskip("sphinx.cmd.build", reason="needs pip install '.[docs]'")
    assert build.main(["-q", "-W", "--keep-going", str(ROOT / "docs"), str(tmp_path)]) == 0, capfd.readouterr().err
    pages = {path.stem: path.read_text() for path in tmp_path.glob("*.html")}
    assert {page.stem for page in PAGES[1:]} <= set(pages)
    for name, page in pages.items():
        for file in (file.partition("?")[0].partition("#")[0] for file in LOADED.findall(page)):
            assert not file or (tmp_path / file).is_file(), f"{name}: {file}"
    sheets = "".join(path.read_text() for path in tmp_path.rglob("*.css"))
    assert not re.search(r"url\(['\"]?(?:https?:)?//|@import ['\"]?http", sheets)
    for misread in (r"<em>\w+,</em>", r'<dt class="field-\w+">Type<'):  # several names before a colon, or one too many
        assert not re.search(misread, pages["api"]), misread
    for public in sfvgen_plan.__all__:
        assert f'id="sfvgen_plan.{public}"' in pages["api"], public
    for protocol in protocol_names():
        assert f'id="{protocol}"' in pages["protocols"], protocol


@pytest.mark.parametrize("page", [page for page in PAGES if CODE.search(page.read_text())], ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page, small_checkpoint, tmp_path, monkeypatch):
    if page.stem == "own_environment":
        pytest.skip("its commands come first: tests/examples/test_examples.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sfvgen_plan.catalogue.BUNDLED", small_checkpoint)
    known = {}
    for code in CODE.findall(page.read_text()):
        exec(compile(code, page.name, "exec"), known)


def test_the_readme_is_short_and_its_pictures_load_fast_and_the_first_moves():
    from PIL import Image

    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 150
    pictures = [ROOT / name for name in re.findall(r"!\[.*?\]\((.*?)\)", readme)]
    assert all(path.stat().st_size <= 400_000 for path in pictures)
    assert getattr(Image.open(pictures[0]), "n_frames", 1) == 36
