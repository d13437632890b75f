"""Does an evaluation that is killed again and again end with the table of one that was left alone?

``python -m sfvgen_plan.benchmarks.kills --kills 100`` plays a small suite with the scripted expert once undisturbed,
and then again and again while it is disturbed at random moments: SIGKILL, a disk that is full (the kernel refuses to
let files grow), the last page of the store or of its log overwritten after a kill. Each time it is resumed, after
``results recover`` where the store asks for it. Whenever it gets to the end its rows and its leaderboard are compared
with the undisturbed ones. Prints and keeps a JSON document; exit 1 if any comparison failed.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sfvgen_plan.benchmarks.files import write_text
from sfvgen_plan.benchmarks.results import EpisodeRow, read_rows
from sfvgen_plan.benchmarks.standings import boards, ranked_rows
from sfvgen_plan.benchmarks.store import Store
from sfvgen_plan.errors import UserError

COMMAND = ("python", "-m", "sfvgen_plan.benchmarks.kills")
PAGE = 4096
WAYS = ("kill", "kill", "full disk", "damaged store", "damaged log")


class Trial:
    """Disturbs runs in ``folder`` until ``kills`` disturbances have struck. ``report`` counts what happened."""

    def __init__(self, folder: Path, episodes: int, longest: float, seed: int) -> None:
        self.folder = folder
        self.episodes = episodes
        self.longest = longest
        self.random = random.Random(seed)
        self.struck: Counter[str] = Counter()
        self.recovered = self.lost = self.finished = self.different = 0

    def run(self, kills: int) -> dict[str, Any]:
        wanted = self._undisturbed()
        while self.struck.total() < kills:
            out = self.folder / "disturbed"
            if self._disturbed(out, self.random.choice(WAYS)):
                self.finished += 1
                self.different += self._outcome(out) != wanted
                shutil.rmtree(out)
        self._resume_to_the_end(self.folder / "disturbed")
        self.different += self._outcome(self.folder / "disturbed") != wanted
        self.finished += 1
        return {
            "disturbances": self.struck.total(),
            **self.struck,
            "recoveries": self.recovered,
            "rows_lost_and_named": self.lost,
            "runs_finished": self.finished,
            "tables_that_differ": self.different,
        }

    def _undisturbed(self) -> tuple[list[EpisodeRow], Any]:
        out = self.folder / "undisturbed"
        self._resume_to_the_end(out)
        return self._outcome(out)

    def _resume_to_the_end(self, out: Path) -> None:
        done = self._start(out).wait()
        if done == 2 and "is damaged" in self._said():
            self._recover(out)
            done = self._start(out).wait()
        if done:
            raise RuntimeError(f"an undisturbed evaluation ended with {done}; see {self.folder / 'log'}")

    def _disturbed(self, out: Path, way: str) -> bool:
        """One evaluation that is disturbed; True if it got to its end all the same."""
        delay = self.random.uniform(0.2, self.longest)
        process = self._start(out, _limit(out, self.random.randrange(1, 12)) if way == "full disk" else None)
        try:
            code = process.wait(60 if way == "full disk" else delay)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.struck[way] += 1
            if way.startswith("damaged") and (out / "results.sqlite").exists():
                self._damage(out / "results.sqlite", way)
            return False
        if code == 0:
            return True
        if way == "full disk" and "can't be" in self._said():
            self.struck[way] += 1
        elif "is damaged" in self._said():
            self._recover(out)
        else:
            raise RuntimeError(f"the evaluation ended with {code}; see {self.folder / 'log'}")
        return False

    def _damage(self, store: Path, way: str) -> None:
        if way == "damaged log":
            _overwrite_last_page(store.with_name(store.name + "-wal"))
            return
        with suppress(UserError):  # Damaged already, by the time before.
            Store(store, thorough=False).close()  # Folds the log into the file, which would hide the damage.
        _overwrite_last_page(store)

    def _start(self, out: Path, limit: Any = None) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "sfvgen_plan.cli", "eval", "--suite", "metaworld-10", "--agent", "expert"]
        command += ["--episodes", str(self.episodes), "--lanes", "1", "--out", str(out), "--resume", "--quiet"]
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=limit)

    def _said(self) -> str:
        return (self.folder / "log").read_text()

    def _recover(self, out: Path) -> None:
        from sfvgen_plan.benchmarks.recovery import recover

        result = recover(out / "results.sqlite")
        self.recovered += 1
        self.lost += result.lost or 0
        result.kept.unlink()

    def _outcome(self, out: Path) -> tuple[list[EpisodeRow], Any]:
        """Rows and leaderboard without what depends on time."""
        rows = [replace(row, plan_seconds=0.0, run="") for row in read_rows(out / "episodes.csv")]
        with Store(out / "results.sqlite", writable=False) as store:
            table = ranked_rows(boards(store))
        for board in table:
            for standing in board["standings"]:
                del standing["seconds_per_plan"]
                standing["return"] = round(standing["return"], 6)  # The order of a sum.
        return sorted(rows, key=lambda row: row.key), table


def _limit(out: Path, pages: int) -> Any:
    """A disk that has room for so many pages: files can't grow beyond the largest one and that."""
    largest = max((path.stat().st_size for path in out.glob("results.sqlite*")), default=0)
    return partial(_refuse_growth, max(largest, 16 * PAGE) + pages * PAGE)


def _refuse_growth(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _overwrite_last_page(path: Path) -> None:
    if path.exists() and path.stat().st_size > PAGE:
        with path.open("r+b") as file:
            file.seek(-PAGE, 2)
            file.write(random.Random(0).randbytes(PAGE))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sfvgen_plan.benchmarks.kills", description="Kill evaluations.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--episodes", type=int, default=10, help="per task of metaworld-10 (default: 10)")
    parser.add_argument("--longest", type=float, default=5.0, help="seconds until a kill, at most (default: 5)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/robustness/kills.json"))
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        result = Trial(Path(folder), args.episodes, args.longest, args.seed).run(args.kills)
    settings = sys.argv[1:] if arguments is None else arguments
    text = json.dumps({"command": shlex.join([*COMMAND, *settings]), **result}, indent=1) + "\n"
    write_text(args.out, text)
    sys.stdout.write(text)
    return 1 if result["tables_that_differ"] else 0


if __name__ == "__main__":
    sys.exit(main())
