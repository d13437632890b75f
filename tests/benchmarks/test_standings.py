"""Rankings, leaderboards and reports from rows."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from sfvgen_plan.benchmarks.protocols import load_protocol, protocol_names
from sfvgen_plan.benchmarks.report.page import report
from sfvgen_plan.benchmarks.report.references import published, published_beside
from sfvgen_plan.benchmarks.report.standings import Board, board_of, boards, ranked_rows, standings
from sfvgen_plan.benchmarks.report.summary import summarise
from sfvgen_plan.benchmarks.report.tables import page, terminal
from sfvgen_plan.benchmarks.results import EpisodeRow
from sfvgen_plan.benchmarks.results.store import Run, Store
from sfvgen_plan.benchmarks.robust import Scores, interquartile_mean
from sfvgen_plan.benchmarks.statistics import wilson
from sfvgen_plan.errors import UserError

PROTOCOL = load_protocol("metaworld-10")
NASTY = '<script>alert("x")</script><img src=x onerror=alert(1)> [bold]b[/bold] [a](javascript:b) | `c` & d'


def rows_of(agent: str, solved: int, tasks: Sequence[str] = PROTOCOL.tasks, **changes: object) -> list[EpisodeRow]:
    """Ten episodes a task, of which the first ``solved`` succeed, at decision 10, 11 and so on."""
    plain = EpisodeRow(
        "metaworld-10", "", agent, 0, False, False, 40.0, 100, 0.5, 1200, 82_000, "", None, "abc", "a GPU",
        PROTOCOL.rules_hash,
    )  # fmt: skip
    rows = []
    for task in tasks:
        for seed in range(10):
            row = dataclasses.replace(plain, task=task, seed=seed, **changes)  # type: ignore[arg-type]
            if seed < solved:
                won = {"success_any": True, "first_success": 10 + seed, "decisions": 15 + seed}
                row = dataclasses.replace(row, success_final=seed % 2 == 0, **won)  # type: ignore[arg-type]
            rows.append(row)
    return rows


def store_of(folder: Path, *groups: Sequence[EpisodeRow]) -> Store:
    store = Store(folder / "all.sqlite", create=True)
    for group in groups:
        store.extend(group)
    return store


def board(folder: Path, *groups: Sequence[EpisodeRow]) -> Board:
    with store_of(folder, *groups) as store:
        (found,) = boards(store)
    return found


def test_agents_are_ranked_by_success_and_controls_have_no_rank(tmp_path: Path) -> None:
    found = board(tmp_path, rows_of("cem", 3), rows_of("expert", 10), rows_of("default", 7), rows_of("random", 1))
    assert [item.agent for item in found.standings] == ["expert", "default", "cem", "random"]
    assert found.places == [None, 1, 2, None]


def test_an_agent_with_easy_tasks_only_is_not_ranked(tmp_path: Path) -> None:
    found = board(tmp_path, rows_of("picky", 10, PROTOCOL.tasks[:3]), rows_of("default", 2))
    assert [item.agent for item in found.standings] == ["default", "picky"]
    assert found.places == [1, None]
    assert "picky · 3 of 10 tasks" in page([found])


def test_figures_are_those_of_the_rows(tmp_path: Path) -> None:
    rows = rows_of("default", 4)
    rows[-1] = dataclasses.replace(rows[-1], error="Boom: no", decisions=3, plan_seconds=9.0)
    standing = board(tmp_path, rows).standings[0]
    summary = summarise(rows)
    assert (standing.success_any, standing.success_final) == (summary.success_any, summary.success_final)
    assert standing.success_any == wilson(40, 100)
    assert standing.seconds_per_plan == {"a GPU": pytest.approx(summary.plan_seconds)}
    assert standing.calls_per_plan == pytest.approx(summary.denoiser_calls)
    assert standing.imagined_per_plan == pytest.approx(summary.imagined_decisions)
    assert standing.return_ / standing.episodes == pytest.approx(summary.return_)
    assert (standing.errors, standing.episodes) == (1, 100)


def test_the_speed_of_success_is_that_of_the_episodes(tmp_path: Path) -> None:
    found = board(tmp_path, rows_of("default", 7))
    scores = [(100 - (10 + seed) + 1) / 100 if seed < 7 else 0.0 for seed in range(10)]
    wanted = interquartile_mean(Scores.of({task: scores for task in PROTOCOL.tasks}))
    assert found.speed[0].mean == pytest.approx(wanted.mean)
    assert (found.speed[0].low, found.speed[0].high) == pytest.approx((wanted.low, wanted.high), abs=0.02)


def test_an_episode_played_again_counts_once(tmp_path: Path) -> None:
    broken = [dataclasses.replace(row, error="Boom: no") for row in rows_of("default", 0)]
    assert board(tmp_path, broken, rows_of("default", 5)).standings[0].errors == 0


def test_times_of_different_devices_are_kept_apart(tmp_path: Path) -> None:
    half = [dataclasses.replace(row, device="a CPU", plan_seconds=5.0) for row in rows_of("default", 5)[:50]]
    standing = board(tmp_path, half, rows_of("default", 5)[50:]).standings[0]
    assert standing.seconds_per_plan == pytest.approx({"a CPU": 5.0, "a GPU": 0.5})


def test_checkpoints_of_one_agent_are_told_apart(tmp_path: Path) -> None:
    found = board(tmp_path, rows_of("default", 5), rows_of("default", 6, checkpoint="0123456789ab"))
    assert found.names() == ["default (0123456)", "default (abc)"]


def test_protocols_are_never_ranked_together(tmp_path: Path) -> None:
    other = rows_of("default", 5, load_protocol("avdc11-v3").tasks, protocol="avdc11-v3", protocol_hash="x")
    with store_of(tmp_path, rows_of("default", 5), other) as store:
        assert [found.protocol for found in boards(store)] == ["avdc11-v3", "metaworld-10"]
        assert [found.protocol for found in boards(store, "avdc11-v3")] == ["avdc11-v3"]
        with pytest.raises(UserError, match="can't be ranked together"):
            board_of(standings(store))
        with pytest.raises(UserError, match="never ranked together"):
            boards(store, "avdc11-v3,metaworld-10")
        with pytest.raises(UserError, match="metaworld-10"):
            boards(store, "metaworld10")


def test_other_rules_under_the_same_name_get_a_board_of_their_own(tmp_path: Path) -> None:
    with store_of(tmp_path, rows_of("default", 5), rows_of("cem", 5, protocol_hash="0" * 12)) as store:
        found = boards(store, "metaworld-10")
        assert [(item.protocol_hash, len(item.standings)) for item in found] == [
            ("0" * 12, 1),
            (PROTOCOL.rules_hash, 1),
        ]


def test_rules_of_variants_come_from_the_run(tmp_path: Path) -> None:
    variant = PROTOCOL.variant(max_decisions=30)
    record = {"rules": dataclasses.asdict(variant), "protocol_hash": variant.rules_hash}
    rows = rows_of("default", 3, protocol=variant.id, protocol_hash=variant.rules_hash)
    with store_of(tmp_path) as store:
        store.extend(rows, [Run.new("default", variant.id, "abc", record)])
        (found,) = boards(store)
    assert (found.limit, found.tasks) == (30, PROTOCOL.tasks)


def test_an_empty_store_has_no_board(tmp_path: Path) -> None:
    with store_of(tmp_path) as store, pytest.raises(UserError, match="no rows"):
        boards(store)


def test_published_figures_stand_apart_with_their_protocol(tmp_path: Path) -> None:
    protocol = load_protocol("avdc11-v3")
    rows = rows_of("default", 5, protocol.tasks, protocol="avdc11-v3", protocol_hash=protocol.rules_hash)
    found = board(tmp_path, rows)
    text = page([found])
    ranking, _, rest = text.partition("### Published figures under other protocols: not comparable")
    assert "AVDC" not in ranking.replace("avdc11-v3", "")
    assert "| AVDC | 43.1 |" in rest
    assert "53.7" in rest
    assert "Metaworld v2, cameras corner, corner2, corner3" in rest
    html = report([found])
    assert html.index('class="published"') > html.index("Probability of improvement") if "Probability" in html else True
    assert "43.1" in html.split('class="published"', 1)[1]


def test_every_published_block_has_source_and_protocol() -> None:
    assert {row.name for block in published() for row in block.rows} >= {
        "AVDC",
        "UniPi",
        "TD-MPC2",
        "DreamerV3",
        "RVT-2",
    }
    for block in published():
        assert block.url.startswith("https://")
        assert block.protocol
        assert set(block.beside).isdisjoint({"metaworld-10"})
    assert [block.source.split(" ")[0] for block in published_beside("avdc11-v3~12345678")] == ["AVDC:", "VideoAgent:"]
    assert set(protocol_names()) >= {"avdc11-v3", "mt50"}


def nasty_board(folder: Path) -> Board:
    names = {"checkpoint": NASTY, "device": NASTY, "protocol": NASTY, "protocol_hash": NASTY}
    rows = rows_of(NASTY, 5, **names) + rows_of("b", 3, **names)  # type: ignore[arg-type]
    return board(folder, [dataclasses.replace(row, task=NASTY + row.task) for row in rows])


class Tags(HTMLParser):
    """Collects what a browser would see: elements, attributes, text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in ("meta", "rect", "line", "circle", "br", "polygon"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_in_names_is_shown_not_run(tmp_path: Path) -> None:
    html = report([nasty_board(tmp_path)])
    seen = Tags()
    seen.feed(html)
    assert seen.open == []
    assert {"script", "img", "iframe", "object", "link"}.isdisjoint(seen.tags)
    assert not any(name.startswith("on") for name in seen.attributes)
    assert NASTY in seen.text
    assert "default-src 'none'" in html


def test_the_report_needs_nothing_else(tmp_path: Path) -> None:
    html = report([board(tmp_path, rows_of("default", 5), rows_of("random", 1))])
    seen = Tags()
    seen.feed(html)
    assert all(link.startswith(("#", "https://")) for link in seen.links)
    assert "@import" not in html
    assert not re.search(r"url\(", html)
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html
    assert html.count('<svg class="chart"') == 3
    assert 'title="5 of 10">50</td>' in html


def test_names_are_plain_text_in_the_other_formats_too(tmp_path: Path) -> None:
    found = nasty_board(tmp_path)
    markdown = page([found])
    assert "<script>" not in markdown
    assert "[a](javascript:b)" not in markdown
    console = Console(width=600, file=io.StringIO())
    console.print(terminal([found]))
    assert "[bold]b[/bold]" in console.file.getvalue()  # type: ignore[attr-defined]


def test_only_the_first_agents_are_shown_when_asked(tmp_path: Path) -> None:
    found = board(tmp_path, *(rows_of(f"agent {n}", n) for n in range(1, 7)))
    for text in (page([found], top=2), report([found], top=2)):
        assert "4 more agents are not shown" in text
        assert "agent 1" not in text.split("Probability of improvement")[0]


def test_json_has_everything(tmp_path: Path) -> None:
    (entry,) = ranked_rows([board(tmp_path, rows_of("default", 5))])
    (standing,) = entry["standings"]
    assert (entry["protocol"], standing["rank"], standing["success_any"]["mean"]) == ("metaworld-10", 1, 0.5)
    assert standing["tasks"]["reach-v3"] == {"episodes": 10, "success_any": 5, "success_final": 3, "errors": 0}
