"""What is made of fidelity rows: figures with a known answer."""

import json
import xml.etree.ElementTree as ET
from dataclasses import asdict, replace

import pytest

from sfvgen_plan.benchmarks.fidelity.compare import FidelityRow, rows_in
from sfvgen_plan.benchmarks.fidelity.report import page, scatter, summarise
from sfvgen_plan.benchmarks.report.readme import block

RATES = {"a": 0.0, "b": 0.3, "c": 0.6, "d": 0.9, "e": 0.1, "f": 0.8}
MADE_WITH = {"checkpoint": "0123", "protocol": "metaworld-10", "max_decisions": 12, "threshold": 0.5}


def rows_of(name, rate, kind="policy", seeds=10):
    return [
        FidelityRow(name, kind, task, seed, seed < rate * seeds, seed < rate * seeds, 12, 12, 0.5, 0.25, 0.75)
        for task in ("reach-v3", "push-v3")
        for seed in range(seeds)
    ]


def all_rows():
    return [row for name, rate in RATES.items() for row in rows_of(name, rate)]


def test_a_simulator_that_is_right_gets_full_marks_and_one_that_is_wrong_or_always_the_same_is_found_out():
    summary = summarise(all_rows())
    assert summary.agreement["pearson"].mean == pytest.approx(1.0)
    assert summary.agreement["mmrv"].high == 0.0
    assert (summary.bias, summary.episodes_per_policy) == (0.0, 20)
    summary = summarise([replace(row, imagined_success=not row.real_success) for row in all_rows()])
    assert (summary.agreement["pearson"].high, summary.agreement["mmrv"].mean > 0.5) == (pytest.approx(-1.0), True)
    summary = summarise([replace(row, imagined_success=row.seed < 5) for row in all_rows()])
    assert summary.agreement["pearson"] is None
    assert summary.agreement["mmrv"].mean > 0.4


def test_where_nobody_succeeds_rewards_are_compared():
    failed = [replace(row, real_success=False, imagined_success=False) for row in all_rows()]
    summary = summarise([replace(row, real_reward=2 * (r := RATES[row.policy]), imagined_reward=r) for row in failed])
    assert summary.agreement["pearson"] is None
    assert summary.agreement_of_rewards["pearson"].mean == pytest.approx(1.0)
    assert "| imagined rewards | 1.000 [" in page(summary, MADE_WITH)
    assert "| d | policy | 0 [0, 16] | 0 [0, 16] | 1.8 | 0.9 |" in page(summary, MADE_WITH)


def test_scores_are_compared_on_what_all_have_played():
    rows = [row for row in all_rows() if row.policy != "a" or row.seed < 4]
    rows += [replace(rows_of("a", 0.0)[9], error="Boom")]
    summary = summarise(rows)
    assert (summary.episodes_per_policy, summary.errors) == (8, 1)
    assert [item.policy for item in summary.policies] == list(RATES)
    with pytest.raises(ValueError, match="every policy"):
        summarise([*rows_of("a", 0.5)[:3], *rows_of("b", 0.5)[5:7]])
    # Planners are told apart.
    cheats = [replace(row, imagined_success=True) for row in rows_of("cheat", 0.1, "planner")]
    summary = summarise(all_rows() + cheats)
    assert summary.agreement["mmrv"].mean > 0.4
    assert summary.agreement_without_planners["mmrv"].mean == 0.0


def test_page_and_picture_say_it_and_escape_names():
    broken = [replace(row, error="Boom") for row in rows_of("<g>", 0.5)]
    summary = summarise(all_rows() + rows_of("<script>|x", 0.5) + broken)
    json.dumps(asdict(summary), allow_nan=False)
    text, picture = page(summary, MADE_WITH), scatter(summary)
    assert "1.000 [1.000, 1.000]" in text
    assert "played no episode to its end: &lt;g&gt;." in text
    assert "<script>" not in text
    assert ET.fromstring(picture).tag.endswith("svg")
    assert "&lt;script&gt;" in picture
    assert "to its end" not in page(summarise(all_rows()), MADE_WITH)


def test_the_page_of_results_shows_agreement(tmp_path):
    folder = tmp_path / "fidelity"
    rows_in(folder).add(*(row for name in "bcd" for row in rows_of(name, RATES[name])))
    shown = block("results", tmp_path)
    assert "20 start frames, 2 tasks" in shown
    assert "| imagined | 1.000 [" in shown
    assert "| c | policy | 60 [39, 78] | 60 [39, 78] | 0.5 | 0.25 |" in shown
