"""``sfvgen-plan fidelity`` as a user meets it, and the playing behind it."""

from pathlib import Path

import numpy as np
import pytest

from sfvgen_plan.benchmarks.fidelity.compare import imagine, rows_in
from sfvgen_plan.benchmarks.fidelity.policies import standard_policies
from sfvgen_plan.benchmarks.running.contestant import Contestant
from sfvgen_plan.benchmarks.running.episode import Job, Recording

PLANNER = ("agent.candidates=3", "agent.elites=2", "agent.iterations=1", "agent.horizon=2", "noise=0.1")
NAMED = "cem+horizon=2+candidates=3+iterations=1+elites=2+noise=0.1"
pytestmark = pytest.mark.usefixtures("own_folder")


def test_a_run_has_rows_a_page_and_a_picture_and_is_gone_on_with(tiny_checkpoint, said, refused):
    fidelity = ("fidelity", "--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--task", "reach-v3")
    fidelity += ("--episodes", "2", "--max-decisions", "2", "--out", "run")
    both = ("--agent", "prior10", "--agent", "random")
    # Agents of other settings go into the same folder, and into its report.
    said(*fidelity, "--agent", "prior", "noise=0.5", "random=0.2")
    said(*fidelity, "--agent", "cem", *PLANNER)
    whole = said(*fidelity, *both)
    names = ["prior+noise=0.5+random=0.2", NAMED, "prior10", "random"]
    assert [item["policy"] for item in whole["policies"]] == names
    assert [item["kind"] for item in whole["policies"]] == ["policy", "planner", "policy", "policy"]
    assert (whole["episodes_per_policy"], whole["errors"]) == (2, 0)
    files = {path.name for path in Path("run").iterdir()}
    assert files == {"fidelity.json", "fidelity.csv", "fidelity.md", "scatter.svg"}
    rows = list(rows_in(Path("run")))
    assert len(rows) == 2 * len(names)
    assert {row.real_decisions for row in rows} | {row.imagined_decisions for row in rows} <= {1, 2}

    # As after a kill: the last rows never made it to the disk.
    lines = Path("run/fidelity.csv").read_text().splitlines(keepends=True)
    Path("run/fidelity.csv").write_text("".join(lines[:-3]))
    again = said(*fidelity, *both)
    for name in ("agreement", "episodes_per_policy"):
        assert again[name] == whole[name]
    for after, before in zip(again["policies"], whole["policies"], strict=True):
        rewards = ("real_reward", "imagined_reward")  # which another batch rounds differently
        assert after == {**before, **{name: pytest.approx(before[name], rel=1e-4) for name in rewards}}
    assert "threshold=0.5, not threshold=0.9" in refused(*fidelity, "threshold=0.9", "--agent", "random")


def test_the_standard_policies_are_of_different_kinds_and_names():
    names = [policy.name for policy in standard_policies()]
    assert len(set(names)) == 11
    assert {"prior+noise=0.5", "prior+random=0.5", "cem+candidates=16+elites=4"} <= set(names)


def test_imagined_episodes_end_with_success_and_leave_the_others_alone(tiny_checkpoint):
    from sfvgen_plan.agents.lanes import RandomAgent
    from sfvgen_plan.model.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(tiny_checkpoint)
    simulator, policy = checkpoint.simulator(exact=True), Contestant("random", RandomAgent(4))
    episodes = []
    for seed in range(4):
        frames = np.random.default_rng(seed).integers(0, 256, (1, checkpoint.size, checkpoint.size, 3), dtype=np.uint8)
        job = Job(checkpoint.tasks[seed % len(checkpoint.tasks)], seed)
        episodes.append(Recording(job, frames, np.zeros(1, bool), np.zeros((0, 4), np.float32)))
    peaks = [found["imagined_peak"] for found in imagine(policy, episodes, simulator, 4, 1.0)]
    threshold = float(np.median(peaks))
    together = imagine(policy, episodes, simulator, 4, threshold)
    assert {found["imagined_success"] for found in together} == {True, False}
    assert all(found["imagined_success"] or found["imagined_decisions"] == 4 for found in together)
    for item, found in zip(episodes, together, strict=True):
        (alone,) = imagine(policy, [item], simulator, 4, threshold)
        assert found == pytest.approx(alone, abs=1e-3)
