"""The fidelity tables of the README."""

from dataclasses import fields

from sfvgen_plan.benchmarks.fidelity.rows import FidelityRow
from sfvgen_plan.benchmarks.fidelity.section import fidelity_sections
from sfvgen_plan.benchmarks.report.readme import results_block
from sfvgen_plan.benchmarks.results.files import csv_text, write_text


def write(file, rows):
    names = [item.name for item in fields(FidelityRow)]
    cells = [[int(value) if isinstance(value, bool) else value for value in vars(row).values()] for row in rows]
    write_text(file, csv_text([names, *cells]))


def episode(policy, seed, real, imagined, task="reach-v3", error=""):
    return FidelityRow(policy, "policy", task, seed, real, imagined, imagined, real, error=error)


def test_policies_that_are_ranked_alike_agree(tmp_path):
    assert fidelity_sections(tmp_path / "fidelity") == []
    rows = [episode(f"p{skill}", seed, seed < skill, seed < skill) for skill in (1, 4, 8) for seed in range(10)]
    write(tmp_path / "fidelity" / "fidelity.csv", rows)
    agreement, policies = fidelity_sections(tmp_path / "fidelity")
    assert "10 start frames, 1 tasks" in agreement
    assert "| imagined | 1.000 [" in agreement
    assert "| p4 | policy | 40 [17, 69] | 40 [" in policies
    assert agreement in results_block(tmp_path)


def test_agents_of_one_task_each_show_their_gap(tmp_path):
    rows = [episode("sac", seed, seed < 1, True) for seed in range(4)]
    rows += [episode("sac", seed, True, seed < 3, "push-v3") for seed in range(4)]
    rows += [episode("sac", 4, False, False, "push-v3", error="broke off")]
    write(tmp_path / "agents.csv", rows)
    (gaps,) = fidelity_sections(tmp_path)
    assert "| `sac` | reach-v3 | 4 | 25 [5, 70] | 100 [51, 100] | +75 |" in gaps
    assert "| `sac` | push-v3 | 4 | 100 [51, 100] | 75 [30, 95] | -25 |" in gaps
