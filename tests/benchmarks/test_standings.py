"""Rankings from rows, and the tables and pages that show them."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console
from stored_rows import PROTOCOL, rows_of

from sfvgen_plan.benchmarks.protocols import load_protocol, protocol_names
from sfvgen_plan.benchmarks.report.markdown import markdown
from sfvgen_plan.benchmarks.report.standings import LOWER, UPPER, boards, report, terminal
from sfvgen_plan.benchmarks.results.summary import Summary
from sfvgen_plan.benchmarks.statistics import wilson

NASTY = '<script>alert("x")</script><img src=x onerror=alert(1)> [bold]b[/bold] [a](javascript:b) | `c` & d'


def board(*groups):
    (found,) = boards([row for group in groups for row in group])
    return found


def shown(table, width=80):
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def test_agents_are_ranked_by_success_and_controls_have_no_rank():
    found = board(rows_of("cem", 3), rows_of("expert", 10), rows_of("default", 7), rows_of("random", 1))
    ranks = [(item.name, item.rank) for item in found.standings]
    assert ranks == [("expert", None), ("default", 1), ("cem", 2), ("random", None)]
    # One that has played easy tasks only is not ranked.
    found = board(rows_of("picky", 10, PROTOCOL.tasks[:3]), rows_of("default", 2))
    assert [(item.name, item.rank) for item in found.standings] == [("default", 1), ("picky", None)]
    assert "picky · 3 of 10 tasks" in shown(terminal([found]), 120)


def test_figures_are_those_of_the_rows():
    rows = rows_of("default", 4)
    rows[-1] = replace(rows[-1], error="Boom: no", decisions=3, plan_seconds=9.0)
    summary = Summary(rows)
    decisions = sum(row.decisions for row in rows)
    assert (summary.success_any, summary.success_final) == (wilson(40, 100), wilson(20, 100))
    assert (summary.episodes, summary.errors, summary.return_) == (100, 1, 40.0)
    assert summary.plan_seconds == pytest.approx((0.5 * (decisions - 3) + 27) / decisions)
    assert summary.denoiser_calls == pytest.approx(120_000 / decisions)
    assert summary.by_task["reach-v3"].success_any == wilson(4, 10)
    with pytest.raises(ValueError, match="one protocol"):
        Summary([*rows, replace(rows[0], agent="cem")])
    # Checkpoints of one agent are told apart.
    found = board(rows_of("default", 5), rows_of("default", 6, checkpoint="0123456789ab"))
    assert [item.name for item in found.standings] == ["default (0123456)", "default (abc)"]


def test_protocols_are_never_ranked_together():
    other = rows_of("default", 5, load_protocol("avdc11-v3").tasks, protocol="avdc11-v3", protocol_hash="x")
    results = rows_of("default", 5) + other
    assert [found.protocol for found in boards(results)] == ["avdc11-v3", "metaworld-10"]
    assert [found.protocol for found in boards(results, "avdc11-v3")] == ["avdc11-v3"]
    # Other rules under the same name get a board of their own.
    found = boards(rows_of("default", 5) + rows_of("cem", 5, protocol_hash="0" * 12), "metaworld-10")
    assert [(item.protocol_hash, len(item.standings)) for item in found] == [("0" * 12, 1), (PROTOCOL.rules_hash, 1)]


@pytest.fixture(scope="module")
def nasty():
    names = {"checkpoint": NASTY, "device": NASTY, "protocol": NASTY, "protocol_hash": NASTY}
    rows = rows_of(NASTY, 5, **names) + rows_of("b", 3, **names)
    return board([replace(row, task=NASTY + row.task) for row in rows])


class Tags(HTMLParser):
    """Collects what a browser would see: elements, (attribute, value), text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text = set(), [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def test_html_in_names_is_shown_not_run(nasty):
    html = report([nasty])
    seen = Tags(html)
    assert {"script", "img", "iframe", "object", "link"}.isdisjoint(seen.tags)
    assert not any(name.startswith("on") for name, _ in seen.attributes)
    assert NASTY in seen.text
    assert "default-src 'none'" in html
    # In the other formats, too.
    assert "[bold]b[/bold]" in re.sub(r"\s", "", shown(terminal([nasty])))
    assert markdown(("a", "b"), [("x|y", "1")]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |"


def test_tables_fit_a_terminal_of_eighty_columns():
    rows = rows_of("default+acceptance.patience=0+sampler_steps=2", 10, plan_seconds=2.5, return_=321.5)
    tables = shown(terminal([board(rows, rows_of("random", 1))])), shown(Summary(rows).table(PROTOCOL.tasks))
    for text in tables:
        assert "…" not in text
        assert "100 [96, 100]" in text
        assert max(map(len, text.splitlines())) <= 80
    assert " button-press-topdown-v3   10  100 [72, 100]  50 [24, 76]   321.5   2.500    0 " in tables[1]


def test_a_sentence_says_it_all():
    busy = {"plan_seconds": 2.5, "denoiser_calls": 50, "imagined_decisions": 800, "device": "a GPU"}
    idle = {"plan_seconds": 0.004, "denoiser_calls": 0, "imagined_decisions": 0, "device": ""}
    for changes, costs in (
        (busy, "2.5 s and 5 calls of the denoiser for 80 imagined decisions, on a GPU."),
        (idle, "4 ms and imagined nothing."),
    ):
        rows = rows_of("default", 0, PROTOCOL.tasks[:1], decisions=10, **changes)
        said = "default solved 0 % of 10 episodes (95 % interval 0 to 28 %) and earned 40 an episode; a decision took "
        assert Summary(rows).verdict() == said + costs
        broken = Summary([*rows[1:], replace(rows[0], error="Boom")]).verdict()
        assert broken == said.replace("%) and", "%; 1 broke off) and") + costs
        solved = replace(rows[0], success_any=True, success_final=True, first_success=3)
        said = "default solved 10 % of 10 episodes (95 % interval 2 to 40 %); a decision took "
        assert Summary([*rows[1:], solved]).verdict() == said + costs


def test_variants_have_the_tasks_of_their_protocol():
    variant = PROTOCOL.variant(max_decisions=30)
    names = {"protocol": variant.id, "protocol_hash": variant.rules_hash, "decisions": 30}
    found = board(rows_of("default", 0, PROTOCOL.tasks[:2], **names))
    assert (found.limit, list(found.tasks)) == (30, list(PROTOCOL.tasks))


def test_published_figures_stand_apart_with_their_protocol():
    protocol = load_protocol("avdc11-v3")
    found = board(rows_of("default", 5, protocol.tasks, protocol=protocol.id, protocol_hash=protocol.rules_hash))
    html = report([found])
    links = [value for name, value in Tags(html).attributes if name in ("href", "src")]
    assert links and all(link.startswith(("#", "https://")) for link in links)
    ranking, _, rest = html.partition("Published figures under other protocols: not comparable")
    assert "AVDC" not in ranking.replace("avdc11-v3", "")
    assert "43.1" in rest and "53.7" in rest
    assert "Metaworld v2, cameras corner, corner2, corner3" in rest
    variant = replace(found, protocol="avdc11-v3~12345678")
    assert [block["source"].split(" ")[0] for block in variant.published] == ["AVDC:", "VideoAgent:"]
    for block in (block for name in protocol_names() for block in replace(found, protocol=name).published):
        assert block["url"].startswith("https://") and block["protocol"] and block["rows"]


def test_the_report_needs_nothing_else_and_shows_when_episodes_were_solved():
    html = report([board(rows_of("default", 5), rows_of("random", 1))])
    assert "@import" not in html and not re.search(r"url\(", html)
    assert html.count('<svg class="chart"') == 1
    assert 'title="of 10">50</td>' in html
    # The profile is the share that was solved by then.
    points = [point.split(",") for point in re.findall(r'class="line"[^>]* points="([^"]*)"', html)[0].split()]
    heights = [(LOWER - float(y)) / (LOWER - UPPER) for _, y in points]
    # Of ten episodes of every task five succeed, at decisions 10 to 14; there is a point for every second decision.
    assert heights[:9] == pytest.approx([0, 0, 0, 0, 0, 0.1, 0.3, 0.5, 0.5], abs=0.001)
