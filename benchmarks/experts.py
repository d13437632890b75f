"""What a decision's length costs Metaworld's experts, and so which tasks can't be shown to a model.

``python -m sfvgen_plan.benchmarks.experts --out benchmarks/rows`` plays the scripted policies on development seeds with
the true simulator and no pixels: their first action held for a decision of 1 to 5 raw steps (``held``), and the mean of
their actions over the decision (``mean``), which is what ``MetaworldExpert`` answers.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_plan.agents.metaworld_expert import MetaworldExpert
from sfvgen_plan.arguments import run_script
from sfvgen_plan.benchmarks.report.markdown import markdown
from sfvgen_plan.benchmarks.results.files import csv_text, write_text
from sfvgen_plan.benchmarks.results.summary import Summary
from sfvgen_plan.envs.metaworld.env import MetaworldEnv
from sfvgen_plan.envs.metaworld.family import TASKS

FILE = "experts.csv"
COLUMNS = ("task", "action", "repeat", "episodes", "solved_200", "solved_500")
"""Of the rows: episodes solved at any time within 200 and 500 raw steps."""

CASES = (("held", 1), ("held", 2), ("held", 3), ("held", 4), ("held", 5), ("mean", 5))
FIRST_SEED, EPISODES = 90_000, 10
SHORT, LONG = 200, 500
WORST = 10


def first_success(task: str, action: str, repeat: int, seed: int) -> float:
    """Raw steps until the expert has solved an episode; infinite beyond ``LONG``."""
    env, expert = MetaworldEnv(task, repeat=repeat, pixels=False), MetaworldExpert(task)
    env.reset(seed=seed)
    for decision in range(LONG // repeat):
        chosen: np.ndarray = expert.act(env) if action == "mean" else expert.act_on_state(env.state)
        if env.step(chosen)[4]["success"]:
            return (decision + 1) * repeat
    return float("inf")


def measured(task: str, action: str, repeat: int, episodes: int = EPISODES) -> dict[str, Any]:
    """One row."""
    steps = [first_success(task, action, repeat, FIRST_SEED + number) for number in range(episodes)]
    solved = [sum(needed <= limit for needed in steps) for limit in (SHORT, LONG)]
    return dict(zip(COLUMNS, (task, action, repeat, episodes, *solved), strict=True))


def worst_tasks_section(records: Sequence[Mapping[str, str]], agent: Summary | None = None) -> str:
    """The tasks that are solved least, by ``agent`` where there is one, else by the expert's held action, and why."""
    share = {
        (row["task"], row["action"], int(row["repeat"]), limit): int(row[f"solved_{limit}"]) / int(row["episodes"])
        for row in records
        for limit in (SHORT, LONG)
    }
    tasks = list(dict.fromkeys(row["task"] for row in records))
    own = {task: summary.success_any.mean for task, summary in agent.by_task.items()} if agent else {}

    def solved(task: str) -> float:
        return own.get(task, 1.0) if own else share[task, "held", 5, SHORT]

    def cause(task: str) -> str:
        each, held, mean, early = (
            share[task, *case] for case in (("held", 1, LONG), ("held", 5, LONG), ("mean", 5, LONG), ("mean", 5, SHORT))
        )
        found = [
            (held < each - 0.15, "an action held for five raw steps overshoots" + "; the mean doesn't" * (mean > held)),
            (min(each, mean) < 0.95, "the script fails in some scenes"),
            (early < mean, "takes more than 200 raw steps in some scenes"),
            (bool(own) and own.get(task, 1.0) < mean - 0.15, "the model: its expert can"),
        ]
        return ", ".join(text for holds, text in found if holds)

    header = ("task", "every raw step", "held for 5", "mean of 5", "the last in 200 raw steps")
    lines = [
        (
            task,
            *(f"{100 * share[task, action, repeat, LONG]:.0f}" for action, repeat in (CASES[0], *CASES[-2:])),
            f"{100 * share[task, 'mean', 5, SHORT]:.0f}",
            *((f"{100 * own[task]:.0f}" if task in own else "",) if agent else ()),
            cause(task),
        )
        for task in sorted(tasks, key=solved)[:WORST]
    ]
    named = (f"`{agent.agent}`",) if agent else ()
    title = f"**The {len(lines)} hardest of {len(tasks)} tasks**: success % of the scripted expert within 500 raw steps"
    return f"{title}\n\n" + markdown((*header, *named, "cause"), lines)


def measure(args: Namespace) -> None:
    """All rows, into the folder."""
    rows = [measured(task, action, repeat, args.episodes) for task in TASKS for action, repeat in CASES]
    write_text(args.out / FILE, csv_text([COLUMNS, *(tuple(row.values()) for row in rows)]))


if __name__ == "__main__":
    parser = ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/rows"), help="folder of the rows")
    parser.add_argument("--episodes", type=int, default=EPISODES, help="of each task (default: 10)")
    sys.exit(run_script(parser, measure))
