"""What is made of fidelity rows: files that survive kills, and figures with a known answer."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sfvgen_plan.benchmarks.fidelity.page import page
from sfvgen_plan.benchmarks.fidelity.plots import drift, scatter
from sfvgen_plan.benchmarks.fidelity.rows import MOMENTS, ROWS, FidelityRow, FidelityRun, Moment
from sfvgen_plan.benchmarks.fidelity.summary import summarise
from sfvgen_plan.errors import UserError

RATES = {"a": 0.0, "b": 0.3, "c": 0.6, "d": 0.9, "e": 0.1, "f": 0.8}
RECORD = {"checkpoint": "0123", "protocol": "metaworld-10", "max_decisions": 12, "threshold": 0.5}


def rows_of(name: str, rate: float, kind: str = "policy", seeds: int = 10) -> list[FidelityRow]:
    solved = [seed < rate * seeds for seed in range(seeds)]
    return [
        FidelityRow(name, kind, task, seed, flag, flag, flag, flag, 12, 12, 0.5, 0.25, 0.75)
        for task in ("reach-v3", "push-v3")
        for seed, flag in enumerate(solved)
    ]


def moments_of(name: str, pace: float, answer: float = 1.0, seeds: int = 3) -> list[Moment]:
    """A hand that moves by ``pace`` a decision, imagined with ``answer`` of that; an object that stays."""
    found = []
    for seed in range(seeds):
        for decision in range(1, 13):
            real, imagined = pace * decision, answer * pace * decision
            places = (real, 0.0, seed, 1.0, 0.0, 0.0, imagined, 0.0, seed, 1.0, 0.0, 0.0)
            found.append(Moment(name, "reach-v3", seed, decision, 30.0, 20.0, *places, 0.005, 0.002, 0.0, 0.0))
    return found


def all_rows() -> list[FidelityRow]:
    return [row for name, rate in RATES.items() for row in rows_of(name, rate)]


def test_a_simulator_that_is_right_gets_full_marks() -> None:
    moments = [moment for place, name in enumerate(RATES) for moment in moments_of(name, 0.01 * (place + 1))]
    summary = summarise(all_rows(), moments)
    assert summary["agreement"]["pearson"]["mean"] == pytest.approx(1.0)
    assert summary["agreement"]["mmrv"]["high"] == 0.0
    assert all(target["met"] for target in summary["targets"].values())
    assert (summary["bias"], summary["episodes_per_policy"]) == (0.0, 20)
    assert [line["hand_error_cm"] for line in summary["drift"]] == pytest.approx([0.0] * len(summary["drift"]))
    assert [line["hand_slope"] for line in summary["sensitivity"]] == pytest.approx([1.0] * len(summary["sensitivity"]))
    assert summary["sensitivity"][0]["object_slope"] is None  # no object moved, so nothing can be said


def test_a_simulator_that_ignores_actions_is_found_out() -> None:
    moments = [moment for place, name in enumerate(RATES) for moment in moments_of(name, 0.01 * (place + 1), 0.0)]
    rows = [replace(row, imagined_success=row.seed < 5) for row in all_rows()]
    summary = summarise(rows, moments)
    assert summary["agreement"]["pearson"] is None
    assert summary["agreement"]["mmrv"]["mean"] > 0.4
    assert not any(target["met"] for target in summary["targets"].values())
    last = summary["sensitivity"][-1]
    assert (last["decision"], last["hand_slope"]) == (10, 0.0)
    assert last["hand_real_cm"] == pytest.approx(10 * np.mean([b - a for a in range(6) for b in range(a + 1, 6)]))
    (error,) = [line["hand_error_cm"] for line in summary["drift"] if line["decision"] == 10]
    assert error == pytest.approx(35.0)


def test_scores_are_compared_on_what_all_have_played_and_probes_are_no_policies() -> None:
    rows = [row for row in all_rows() if row.policy != "a" or row.seed < 4]
    rows += [replace(rows_of("a", 0.0)[9], error="Boom"), *rows_of("flip", 0.5, "probe")]
    summary = summarise(rows, [])
    assert (summary["episodes_per_policy"], summary["errors"]) == (8, 1)
    assert [item["policy"] for item in summary["policies"]] == list(RATES)
    with pytest.raises(ValueError, match="every policy"):
        summarise([*rows_of("a", 0.5)[:3], *rows_of("b", 0.5)[5:7]], [])


def test_planners_are_told_apart() -> None:
    rows = all_rows() + [replace(row, imagined_success=True) for row in rows_of("cheat", 0.1, "planner")]
    summary = summarise(rows, [])
    assert summary["agreement"]["mmrv"]["mean"] > 0.4
    assert summary["agreement_without_planners"]["mmrv"]["mean"] == 0.0


def test_success_that_is_only_imagined_is_counted() -> None:
    probe = [replace(row, replayed_success=row.seed in (0, 7)) for row in rows_of("flip", 0.4, "probe")]
    summary = summarise(all_rows() + probe, moments_of("flip", 0.02) + moments_of("a", 0.01))
    policies, flip = summary["unusual_actions"]
    assert (policies["false_success"], policies["missed_success"]) == (0.0, 0.0)
    assert flip["false_success"] == pytest.approx(1 / 6)
    assert flip["missed_success"] == pytest.approx(3 / 4)
    assert (flip["decision"], flip["psnr_db"]) == (10, 30.0)


def test_page_and_pictures_say_it_and_escape_names() -> None:
    rows = all_rows() + rows_of("<script>|x", 0.5)
    moments = [moment for name in RATES for moment in moments_of(name, 0.02)]
    summary = summarise(rows, moments)
    json.dumps(summary, allow_nan=False)
    text = page(summary, RECORD)
    assert "1.000 [1.000, 1.000]" in text
    assert "<script>" not in text
    for picture in (scatter(summary), drift(summary), drift({**summary, "drift": []})):
        assert ET.fromstring(picture).tag.endswith("svg")
    assert "&lt;script&gt;" in scatter(summary)


def test_policies_that_always_broke_off_are_named() -> None:
    rows = [replace(row, error="Boom") for row in rows_of("<g>", 0.5)] + all_rows()
    summary = summarise(rows, moments_of("a", 0.02))
    assert (len(summary["policies"]), summary["errors"], summary["broken_policies"]) == (6, 20, ["<g>"])
    assert "played no episode to its end: &lt;g&gt;." in page(summary, RECORD)
    assert "to its end" not in page(summarise(all_rows(), moments_of("a", 0.02)), RECORD)


def test_a_run_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    rows, moments = rows_of("a", 0.5), moments_of("a", 0.01)
    run = FidelityRun(tmp_path, RECORD)
    run.add(rows[:3], [moment for moment in moments if moment.seed < 3])
    again = FidelityRun(tmp_path, RECORD)
    assert (again.rows, again.moments) == (rows[:3], moments)
    assert again.missing("a", [("reach-v3", 2), ("reach-v3", 3)]) == [("reach-v3", 3)]
    assert again.missing("b", [("reach-v3", 2)]) == [("reach-v3", 2)]


@pytest.mark.parametrize("lost", range(1, 200, 23))
def test_a_torn_end_costs_that_row_only(tmp_path: Path, lost: int) -> None:
    rows, moments = rows_of("a", 0.5), moments_of("a", 0.01)
    FidelityRun(tmp_path, RECORD).add(rows[:3], moments)
    whole = (tmp_path / ROWS).read_bytes()
    (tmp_path / ROWS).write_bytes(whole[:-lost])
    run = FidelityRun(tmp_path, RECORD)
    assert run.rows == rows[: len(run.rows)]
    assert len(run.rows) >= 3 - 1 - lost // 40
    assert {moment.seed for moment in run.moments} == {row.seed for row in run.rows}
    run.add(rows[len(run.rows) : 3], [m for m in moments if m.key not in {row.key for row in run.rows}])
    assert (tmp_path / ROWS).read_bytes() == whole
    assert len((tmp_path / MOMENTS).read_text().splitlines()) == len(moments) + 1


def test_episodes_that_broke_off_are_played_again(tmp_path: Path) -> None:
    run = FidelityRun(tmp_path, RECORD)
    run.add([FidelityRow("a", "policy", "reach-v3", 0, error="Boom")], [])
    assert run.missing("a", [("reach-v3", 0)]) == [("reach-v3", 0)]
    assert FidelityRun(tmp_path, RECORD).rows == []


def test_rows_of_something_else_are_refused(tmp_path: Path) -> None:
    FidelityRun(tmp_path, RECORD).add(rows_of("a", 0.5), [])
    with pytest.raises(UserError, match=r"threshold=0\.5, not 0\.9"):
        FidelityRun(tmp_path, {**RECORD, "threshold": 0.9})
    (tmp_path / ROWS).write_text((tmp_path / ROWS).read_text().replace("0.25", "nan"))
    with pytest.raises(UserError, match="line 2 is no row"):
        FidelityRun(tmp_path, RECORD)
