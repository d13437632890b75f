"""``sfvgen-plan train-agent``: an agent learns in imagination alone, then acts in the real simulator and is scored.

With ``real=true`` it learns in the real simulator, for a comparison.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfvgen_plan.arguments import add_model_arguments, add_overrides, non_negative_int
from sfvgen_plan.errors import UserError
from sfvgen_plan.settings import compose

if TYPE_CHECKING:
    from sfvgen_plan.agents.training import Playing
    from sfvgen_plan.console import Bar, Output
    from sfvgen_plan.model.checkpoint import Checkpoint

HELP = "train a Stable-Baselines3 agent in imagination, then play it in the real simulator"

REAL_EPISODES = 20
AGENT_FILE, RECORD_FILE, REAL_FOLDER = "agent.zip", "train.json", "real"


def add_arguments(parser: ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("--task", required=True, help="one task that the checkpoint lists, such as reach-v3")
    parser.add_argument("--algo", default="ppo", help="ppo, sac or td3 (default: ppo)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="new folder (default: runs/<algo>-<task>)")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="of the training (default: 0)")
    parser.add_argument(
        "--episodes",
        type=non_negative_int,
        default=REAL_EPISODES,
        help=f"real episodes afterwards, from seed 0 (default: {REAL_EPISODES}; 0: train only)",
    )
    add_model_arguments(parser)
    add_overrides(parser)


def run(args: Namespace) -> int:
    """Train, save ``agent.zip`` and ``train.json``, and evaluate like ``eval --agent sb3:agent.zip``.

    The same command again goes on where it was killed: in the training, or in the real episodes after it. A training
    that leaves no states, as one in the real simulator, begins anew.
    """
    from sfvgen_plan.console import Output
    from sfvgen_plan.devices import resolve_device

    for text in args.overrides:
        if text.partition("=")[0] == "algo":
            raise UserError(f"override {text!r}: choose the algorithm with --algo")
    config = compose("train_agent", [f"algo={args.algo}", *args.overrides])
    task = args.task.removeprefix("metaworld/")
    folder = args.out or Path("runs") / f"{args.algo}-{task}"
    _need_package()
    out = Output.of(args)
    from sfvgen_plan.agents.training import Playing, check_amounts, states_of
    from sfvgen_plan.model.checkpoint import load_checkpoint

    playing = Playing(**{name: config[name] for name in Playing.__dataclass_fields__})
    check_amounts(config["decisions"], config["save_every"])
    unfinished = states_of(folder / AGENT_FILE).exists()
    stopped = (folder / AGENT_FILE).exists() and not unfinished
    trained = stopped and _is_complete(_read(folder))
    if trained and _played(folder / REAL_FOLDER) >= args.episodes:
        raise UserError(f"out={str(folder)!r} holds an agent already; give another folder")
    checkpoint = load_checkpoint(args.checkpoint, resolve_device(args.device))
    checkpoint.task_index(task)
    record = _record(args, task, config, checkpoint.hash)
    if stopped:
        _check_same(folder, record)
    if trained:
        out.note(f"{folder / AGENT_FILE} is trained; going on with its real episodes")
        return _evaluate(args, task, folder / AGENT_FILE, config["real"], resume=True)
    if unfinished:
        record = _read(folder) or record  # the note that it began with
    file = _train(args, task, config, playing, checkpoint, folder, record, out)
    out.note(f"agent: {file}")
    if not args.episodes:
        out.result({"agent": str(file), "task": task, "checkpoint": checkpoint.hash}, f"agent written to {file}")
        return 0
    return _evaluate(args, task, file, config["real"])


def _train(
    args: Namespace,
    task: str,
    config: dict[str, Any],
    playing: Playing,
    checkpoint: Checkpoint,
    folder: Path,
    record: dict[str, Any],
    out: Output,
) -> Path:
    """Train the agent, with a note beside it that says how, and how far it came; returns its file."""
    import time

    from sfvgen_plan.agents.training import train

    title = f"{args.algo} {'plays' if playing.real else 'imagines'}"
    before, started = record.get("seconds", 0.0), time.monotonic()
    begun = ended = False

    def begin() -> None:
        nonlocal begun
        _write(folder, record)
        begun = True

    with out.progress(title, total=config["decisions"]) as bar:
        watch = _Watch(bar, title)
        try:
            file = train(
                args.algo,
                task,
                checkpoint,
                playing,
                config["decisions"],
                config["algo"],
                folder / AGENT_FILE,
                args.seed,
                config["policy_device"],
                watch.update,
                config["save_every"],
                begin,
            )
            ended = True
        finally:
            if begun:  # what was refused leaves nothing
                taken = max(watch.done, config["decisions"] if ended else record.get("decisions", 0))
                _write(folder, record | {"decisions": taken, "seconds": round(before + time.monotonic() - started, 1)})
    return file


class _Watch:
    """Moves the bar to the number of decisions taken so far."""

    def __init__(self, bar: Bar, title: str) -> None:
        self._bar, self._title, self.done = bar, title, 0

    def update(self, decisions: int, numbers: dict[str, float]) -> None:
        """Show the newest means."""
        self._bar.advance(decisions - self.done)
        self._bar.describe(" ".join([self._title, *(f"{name} {value:.3g}" for name, value in numbers.items())]))
        self.done = decisions


def _need_package() -> None:
    """UserError without Stable-Baselines3."""
    from importlib.util import find_spec

    if find_spec("stable_baselines3") is None:
        raise UserError("train-agent needs stable-baselines3; pip install 'sfvgen-plan[sb3]'")


def _record(args: Namespace, task: str, config: dict[str, Any], checkpoint: str) -> dict[str, Any]:
    """What is trained and with which numbers."""
    import shlex
    import sys

    return {
        "algo": args.algo,
        "task": task,
        "seed": args.seed,
        "checkpoint": checkpoint,
        "settings": config,
        "command": shlex.join(["sfvgen-plan", *sys.argv[1:]]),
    }


def _write(folder: Path, record: dict[str, Any]) -> None:
    """Note beside the agent how it is trained, and what that took."""
    import json

    from sfvgen_plan.benchmarks.results.files import write_text

    try:
        write_text(folder / RECORD_FILE, json.dumps(record, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"out={str(folder)!r} can't be written to ({error}); give another folder") from error


def _read(folder: Path) -> dict[str, Any]:
    """The note beside an agent; empty if there is none."""
    import json

    try:
        found = json.loads((folder / RECORD_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_complete(record: dict[str, Any]) -> bool:
    """Whether all decisions were taken; notes of earlier versions don't say how many were."""
    return "decisions" not in record or record["decisions"] >= record.get("settings", {}).get("decisions", 0)


def _check_same(folder: Path, record: dict[str, Any]) -> None:
    """UserError if the agent there was trained in another way than is asked for now."""
    theirs = _read(folder)
    if not theirs:
        raise UserError(f"out={str(folder)!r} holds an agent without {RECORD_FILE}; give another folder")
    for name in ("algo", "task", "seed", "checkpoint", "settings"):
        if theirs.get(name) != record[name]:
            raise UserError(
                f"out={str(folder)!r} holds an agent with {name}={theirs.get(name)!r}, not {record[name]!r}; "
                "give another folder"
            )


def _played(folder: Path) -> int:
    """Whole episodes in a run folder."""
    from sfvgen_plan.benchmarks.results.import_export import STORE
    from sfvgen_plan.benchmarks.results.store import Store

    if not (folder / STORE).exists():
        return 0
    with Store(folder / STORE, writable=False, thorough=False) as store:
        return sum(not row.error for row in store.rows())


def _evaluate(args: Namespace, task: str, file: Path, real: bool, resume: bool = False) -> int:
    """``eval`` of the new agent under its task's protocol; rows lie in ``<folder>/real``."""
    from sfvgen_plan.agents.registry import POLICY_PREFIX
    from sfvgen_plan.cli import eval as verb
    from sfvgen_plan.cli.parser import parse_arguments

    label = f"{args.algo}-{'real' if real else 'imagined'}"
    options = ["--task", task, "--agent", f"{POLICY_PREFIX}{file}", "--label", label]
    options += ["--episodes", str(args.episodes), "--device", args.device, "--out", str(file.parent / REAL_FOLDER)]
    options += ["--checkpoint", args.checkpoint] if args.checkpoint else []
    options += [flag for flag, given in (("--quiet", args.quiet), ("--json", args.json), ("--resume", resume)) if given]
    return verb.run(parse_arguments(["eval", *options], {"eval": verb}))
