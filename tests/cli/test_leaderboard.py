"""``sfvgen-plan leaderboard`` as a user meets it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sfvgen_plan import cli
from sfvgen_plan.benchmarks.results.files import read_rows, write_rows
from sfvgen_plan.benchmarks.results.row import EpisodeRow
from sfvgen_plan.benchmarks.results.store import Store

COMMITTED = Path(__file__).resolve().parents[2] / "benchmarks" / "rows"
pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "all.sqlite", create=True) as store:
        store.add(read_rows(COMMITTED / "metaworld-10.csv", EpisodeRow))
    return "all.sqlite"


def test_the_committed_rows_are_ranked_by_default(capsys):
    shutil.copytree(COMMITTED, "benchmarks/rows")
    assert cli.main(["leaderboard"]) == 0
    output = capsys.readouterr().out
    assert "Protocol metaworld-10" in output
    assert "expert · control" in output


def test_the_report_is_written_and_named(store, capsys):
    assert cli.main(["leaderboard", "--store", store, "--html", "board.html"]) == 0
    assert "written: board.html" in capsys.readouterr().err
    assert Path("board.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert not list(Path().glob("*.tmp"))


def test_several_sources_are_put_together_in_one_document(store, said):
    rows = read_rows(COMMITTED / "metaworld-10.csv", EpisodeRow)
    mine = [replace(row, agent="mine") for row in rows if row.agent == "random"]
    write_rows(Path("run/episodes.csv"), mine, EpisodeRow)
    (board,) = said("leaderboard", "--store", store, "run")["boards"]
    ranks = {standing["agent"]: standing["rank"] for standing in board["standings"]}
    ranked = [rank for rank in ranks.values() if rank is not None]
    assert (ranks["mine"], ranks["random"]) == (max(ranked), None)  # as bad as random: behind whatever is committed


def test_bad_input_is_one_line(store, refused):
    Path("empty").mkdir()
    Path("text.csv").write_text("a,b\n1,2\n")
    with Store(Path("none.sqlite"), create=True):
        pass
    for options, named in (
        ((), "no rows"),
        (("--store", "nowhere.sqlite"), "doesn't exist"),
        (("--store", "empty"), "holds no rows"),
        (("--store", "text.csv"), "line 2"),
        (("--store", "none.sqlite"), "no rows"),
        (("--store", store, "--protocol", "metaworld10"), "metaworld-10"),
        (("--store", store, "--protocol", "metaworld-10,metaworld-50"), "never ranked together"),
        (("--store", store, "--html", "empty"), "html='empty' can't be written to"),
        (("--store", store, "--html", f"{'long' * 80}.html"), "can't be written to"),
    ):
        assert named in refused("leaderboard", *options), options
