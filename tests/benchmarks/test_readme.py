"""The README's results follow from the committed rows, and going stale is noticed."""

from dataclasses import replace

import pytest
from stored_rows import COMMITTED, ROW

from sfvgen_plan.benchmarks.report.readme import block, main
from sfvgen_plan.benchmarks.results.files import write_rows
from sfvgen_plan.benchmarks.results.row import EpisodeRow
from sfvgen_plan.errors import UserError


def row(agent, task, seed, success, **changes):
    outcome = dict(success_any=success, success_final=success, first_success=10 if success else None)
    plain = replace(ROW, return_=50.0, decisions=20, plan_seconds=0.5, denoiser_calls=60, imagined_decisions=4000)
    return replace(plain, task=task, agent=agent, seed=seed, **outcome | changes)


BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def results_folder(folder):
    tasks = ("reach-v3", "push-v3")
    rows = [row("prior", task, seed, task == "reach-v3") for task in tasks for seed in range(4)]
    rows += [row("default", task, seed, seed > 0, device="NVIDIA H100") for task in tasks for seed in range(4)]
    write_rows(folder / "metaworld-10.csv", rows, EpisodeRow)
    (folder / "open_loop.csv").write_text(
        "task,f_g,decision,episodes,psnr_db,copy_psnr_db,object_error_cm,hand_error_cm\n"
        "reach-v3,1,8,1,30,25,1,1\nreach-v3,1,35,1,27,20,2,3\npush-v3,1,35,1,28,22,3,1\n"
    )
    (folder / "speed.csv").write_text(
        "name,device,value,unit,command\nimagined_4096x1,NVIDIA H100,26000,decisions/s,make bench\ngone,x,1,s,make\n"
    )
    (folder / "own").mkdir()
    swing = row("mine", "gym:Swing-v0", 0, False, protocol="gym:Swing-v0")
    swings = [replace(swing, seed=seed, return_=10.0 * seed) for seed in range(3)]
    write_rows(folder / "own" / "swing.csv", swings, EpisodeRow)
    return folder


def readme(folder):
    path = folder / "README.md"
    path.write_text(f"# Title\n{BEGIN}\nold\n{END}\nfooter\n")
    return path


def test_what_is_lost_of_weak_tasks_is_told_apart_for_those_that_the_reader_has_played(tmp_path):
    solved = {"expert": 4, "reader": 3, "prior": 1}
    rows = [row(who, "reach-v3", seed, seed < count) for who, count in solved.items() for seed in range(4)]
    rows += [row(who, "push-v3", seed, True) for who in ("expert", "prior") for seed in range(4)]
    write_rows(tmp_path / "metaworld-10.csv", rows, EpisodeRow)
    text = block("results", tmp_path)
    assert "| task | script | reading | policy |\n| --- | ---: | ---: | ---: |\n| reach-v3 | 0 | 25 | 50 |" in text
    assert "script | reading" not in block("results", results_folder(tmp_path))


def test_the_block_shows_agents_tasks_differences_rollouts_and_speed(tmp_path):
    text = block("results", results_folder(tmp_path))
    for part in (
        "| `prior` (2 of 10 tasks) | 8 | 50 [22, 78] | 50 [22, 78] | 50 [22, 78] | 50 | 0.500 | cpu | 3.0 | 200 | 0 |",
        "| `default` (2 of 10 tasks) | 8 | 75 [41, 93] |",
        "| task | `prior` | `default` |",
        "| reach-v3 | 100 | 75 |",
        "| `default` minus `prior` | 8 | +25 [",
        "`metaworld-10`** (checkpoint abc; 95 % Wilson",
        "Open-loop rollouts at decision 35",
        "| 27.5 | 21.0 | 2.5 | 2.0 |",
        "| imagined_4096x1 | 26,000 decisions/s | NVIDIA H100 |",
        "**Own environment `gym:Swing-v0`**",
        "| `mine` | 3 | 10 [",
    ):
        assert part in text
    assert "gone" not in text


def test_protocols_never_share_a_table(tmp_path):
    folder = results_folder(tmp_path)
    other = replace(row("default", "assembly-v3", 0, True), protocol="metaworld-50")
    write_rows(folder / "metaworld-50.csv", [other], EpisodeRow)
    text = block("results", folder)
    assert text.count("Success under protocol") == 2
    write_rows(folder / "metaworld-50.csv", [row("default", "reach-v3", 0, True)], EpisodeRow)
    with pytest.raises(UserError, match="keep those apart"):
        block("results", folder)
    rows = [replace(other, seed=n, protocol_hash=f"rules{n}") for n in range(2)]
    write_rows(folder / "metaworld-50.csv", rows, EpisodeRow)
    with pytest.raises(UserError, match=r"rules0, rules1.*keep those apart"):
        block("results", folder)


def test_only_what_stands_between_the_marks_is_replaced_and_check_notices_what_is_old(tmp_path, capsys):
    folder, path = results_folder(tmp_path), readme(tmp_path)
    assert main([str(path), f"--rows={folder}", "--check"]) == 1
    assert "old" in path.read_text()
    assert main([str(path), f"--rows={folder}"]) == 0
    text = path.read_text()
    assert text.startswith(f"# Title\n{BEGIN}\n**Success")
    assert text.endswith(f"{END}\nfooter\n")
    assert "old" not in text
    assert main([str(path), f"--rows={folder}", "--check"]) == 0
    write_rows(folder / "metaworld-10.csv", [row("prior", "reach-v3", 0, True)], EpisodeRow)
    assert main([str(path), f"--rows={folder}", "--check"]) == 1
    assert "out of date" in capsys.readouterr().err
    pages = [str(COMMITTED.parents[1] / name) for name in ("README.md", "docs/results.md")]
    assert main([*pages, f"--rows={COMMITTED}", "--check"]) == 0, "the committed pages show the committed rows"


def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capsys):
    path, folder = readme(tmp_path), results_folder(tmp_path)
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / "README.md").write_text("# Title\n")
    (odd / "open_loop.csv").write_text("task,f_g\nreach-v3,1\n")
    for page, rows in ((path, odd), (path, tmp_path / "none"), (odd / "README.md", folder), (odd / "none.md", folder)):
        before = page.read_text() if page.exists() else None
        assert main([str(page), f"--rows={rows}"]) == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert before is None or page.read_text() == before
