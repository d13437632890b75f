"""Rounds of play and training: an agent plays in the real simulator, and its model learns from that before it goes on.

A round is a folder of parts, each of which appears as a whole: the episodes ``played``, an ``agent`` where one is
trained in imagination, ``data`` with links to all episodes so far, the ``checkpoint`` trained on them; and a row. What
is there is not done again, and what was killed goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from sfvgen_plan.agents.behaviour import expert_of
from sfvgen_plan.benchmarks.protocols import Protocol
from sfvgen_plan.benchmarks.results.files import Rows
from sfvgen_plan.benchmarks.running.collection import CollectionSettings, collect
from sfvgen_plan.benchmarks.running.contestant import Contestant
from sfvgen_plan.benchmarks.running.episode import Job, Recording
from sfvgen_plan.benchmarks.running.play import default_lanes
from sfvgen_plan.console import Output, StageBars
from sfvgen_plan.data.episodes import OWN, join_datasets, read_metadata
from sfvgen_plan.data.minari_writer import DATA_FILE
from sfvgen_plan.data.sources import FIRST_TRAINING_SEED
from sfvgen_plan.run_note import RunNote
from sfvgen_plan.settings import Settings, changed, flat, setting

if TYPE_CHECKING:
    from sfvgen_plan.model.checkpoint import Checkpoint

AgentOfRound = Callable[["Checkpoint", Path, Path], "Contestant"]
"""Makes a round's agent, given the checkpoint, the round's folder and the folder of the one before."""

LINGER = 5  # decisions that an episode goes on after its first success: what comes then is learnt, too
WANDERING = "sfvgen_plan.agents.behaviour:Wandering"  # who plays before anything is learnt
THRESHOLD = 0.5
BLOCK = 64  # episodes that are imagined side by side


@dataclass(frozen=True)
class RoundSettings(Settings):
    """What the rounds are like."""

    rounds: int = setting(5, "of play and training", 1)
    episodes: int = setting(40, "real ones of each task in a round", 1)
    imagined: int = setting(20, "of them imagined as well, from the same first frames", 1)
    noise: float = setting(0.1, "deviation of Gaussian noise on the actions played", 0)
    seed: int = setting(
        2 * FIRST_TRAINING_SEED, "of the first real episode; those below 100000 are for evaluation", FIRST_TRAINING_SEED
    )
    demonstrations: int | None = setting(None, "of --data, so many clean episodes of each task; null: all of it", 1)
    steps: int = setting(1000, "of the video transformer in a round; the first training has its recipe's")
    autoencoder_steps: int = setting(300, "likewise")
    advice: bool = setting(False, "record what the task's expert would do in every state met, for the prior (DAgger)")
    rarity: float = setting(0.5, "how much more often thinly covered states are drawn: 0 not at all, 1 evenly")

    @property
    def going_on(self) -> list[str]:
        """What training in a round differs in from the recipe's: it is short, and the model can dream already."""
        return [
            f"train.video.fit.steps={self.steps}",
            f"train.video.fit.warmup={self.steps // 10}",
            f"train.autoencoder.fit.steps={self.autoencoder_steps}",
            f"train.autoencoder.fit.warmup={self.autoencoder_steps // 10}",
            "train.video.learning.dream_from=0",
            f"train.video.learning.rarity={self.rarity}",
        ]


@dataclass(frozen=True)
class RoundRow:
    """The agent of a round: what its model had learnt from, and how it did in this round's episodes, real and imagined:
    success, and the reward of a decision."""

    suite: str
    round: int
    real_episodes: int
    real_decisions: int
    success_real: float
    success_imagined: float
    reward_real: float
    reward_imagined: float


@dataclass
class Rounds:
    """One run of ``sfvgen-plan improve`` in a ``folder``, which rows call ``suite``: the rules and tasks of the real
    episodes, what makes each round's agent, the training's ``key=value`` and the configuration that they make, and the
    data or checkpoint to begin with; without either, random play is learnt first. ``lanes``: real episodes side by
    side; None: as the machine allows."""

    folder: Path
    suite: str
    protocol: Protocol
    agent: AgentOfRound
    settings: RoundSettings
    recipe: Sequence[str]
    config: Mapping[str, Any]
    data: Path | None
    checkpoint: Path | None
    device: str
    lanes: int | None
    out: Output
    facts: dict[str, Any] = field(default_factory=dict)

    def run(self) -> Path:
        """All rounds; the folder of the last checkpoint. Raises UserError: the folder holds another run; what play and
        training refuse."""
        for task in self.protocol.tasks if self.settings.advice else ():
            expert_of(task)  # is there one?
        begin = {name: value and str(value) for name, value in (("data", self.data), ("checkpoint", self.checkpoint))}
        wanted = {**asdict(self.settings), "tasks": self.protocol.tasks, **begin, **self.facts}
        wanted |= flat(self.config["train"], "train.")
        del wanted["rounds"]  # more of them may be added
        note = RunNote(self.folder, self.folder / "improve.json", wanted)
        note.check()
        note.write()
        model = self._begun()
        for number in range(1, self.settings.rounds + 1):
            if number not in [row.round for row in self.rows()]:
                self._meet(number, model)
            model = self._trained(number, model, self.settings.going_on)
        return model

    def rows(self) -> Rows[RoundRow]:
        """Of the rounds played so far."""
        return Rows(self.folder / "improve.csv", RoundRow, ("suite", "round"))

    def _begun(self) -> Path:
        """The first model."""
        if self.data is None and self.checkpoint is not None:
            return self.checkpoint
        if self.data is None:
            self._collected(0, "random play", None)
        return self._trained(0, self.checkpoint, [])

    def _meet(self, number: int, model: Path) -> None:
        """The round's agent in the real simulator and in imagination."""
        with self.out.progress("loading"):
            from sfvgen_plan.model.checkpoint import load_checkpoint

            checkpoint = load_checkpoint(model, self.device)
        policy = self.agent(checkpoint, self._of(number), self._of(number - 1))
        played = self._collected(number, f"round {number}: play", policy)
        self._score(number, policy, checkpoint, played)

    def _of(self, number: int) -> Path:
        return self.folder / str(number)

    def _seed(self, number: int) -> int:
        """Of the round's first episode of each task."""
        return self.settings.seed + number * self.settings.episodes

    def _collected(self, number: int, title: str, policy: Contestant | None) -> Path:
        """The dataset of a round's real episodes, played by ``policy``; None: at random."""
        rules = self.protocol
        frames: Any = {"size": rules.size, "camera": rules.camera, "repeat": rules.repeat}
        count, seed = self.settings.episodes, self._seed(number)
        agent = WANDERING if policy is None else OWN
        settings = CollectionSettings(rules.tasks, count, rules.max_decisions, seed, **frames, agent=agent)
        own: dict[str, Any] = {"lanes": self.lanes}
        if policy is not None:
            lanes, advise = self.lanes or default_lanes(policy), self.settings.advice
            own = {"lanes": lanes, "contestant": policy, "rules": rules, "advise": advise}
        with self.out.progress(title, total=len(settings.plan)) as bar:
            return collect(self._of(number) / "played", settings, on_episode=bar.advance, **own)

    def _score(self, number: int, policy: Contestant, checkpoint: Checkpoint, played: Path) -> None:
        """The row of the round."""
        from sfvgen_plan.benchmarks.fidelity.compare import imagine

        starts, solved, earned = first_frames(played)
        starts = [start for start in starts if start.job.seed < self._seed(number) + self.settings.imagined]
        simulator, found = checkpoint.simulator(), []
        with self.out.progress(f"round {number}: imagine", total=len(starts)) as bar:
            for n in range(0, len(starts), BLOCK):
                block = starts[n : n + BLOCK]
                found += imagine(policy, block, simulator, self.protocol.max_decisions, THRESHOLD)
                bar.advance(len(block))
        before = self._of(number - 1) / "data"
        known = read_metadata(before) if before.exists() else {}
        imagined, hoped = (float(np.mean([one[f"imagined_{what}"] for one in found])) for what in ("success", "reward"))
        row = RoundRow(
            self.suite, number, known.get("total_episodes", 0), known.get("total_steps", 0), float(solved.mean()),
            imagined, float(earned.mean()), hoped,
        )  # fmt: skip
        self.rows().add(row)
        told = f"success real {row.success_real:.2f}, imagined {row.success_imagined:.2f}"
        self.out.note(f"round {number}: {told}; reward real {row.reward_real:.3g}, imagined {row.reward_imagined:.3g}")

    def _trained(self, number: int, start: Path | None, changes: Sequence[str]) -> Path:
        """The checkpoint trained on all episodes up to this round."""
        folder, done = self._of(number), self._of(number) / "checkpoint"
        if done.exists():
            return done
        own = [self._of(n) / "played" for n in range(number + 1)]
        parts = [*filter(None, [self.data]), *(part for part in own if part.exists())]
        few = self.settings.demonstrations if self.data else None
        join_datasets(folder / "data", parts, self.protocol.tasks, few)
        partial = folder / "checkpoint.partial"
        config = changed(self.config, changes) | {"data": str(folder / "data"), "out": str(partial)}
        config |= {"checkpoint": str(start) if start else None, "seed": number, "tasks": list(self.protocol.tasks)}
        with StageBars(self.out, f"round {number}: reading") as stages:
            from sfvgen_plan.learning.train import Training

            training = Training(config, stages.update, [*self.recipe, *changes])
            training.run()
            training.accelerator.end_training()
        shutil.rmtree(partial / "training")
        return partial.rename(done)


def first_frames(played: Path) -> tuple[list[Recording], np.ndarray, np.ndarray]:
    """The beginning of each episode of a dataset, which of them succeeded, (E,) bool, and their mean rewards (E,)."""
    starts, solved, earned = [], [], []
    with h5py.File(played / DATA_FILE, "r") as file:
        for episode in (file[f"episode_{number}"] for number in range(len(file))):
            job = Job(str(episode.attrs["task"]), int(episode.attrs["seed"]))
            frames = episode["observations/pixels"][:1]
            starts.append(Recording(job, frames, np.zeros(1, bool), np.zeros((0, 0), np.float32)))
            solved.append(bool(episode["infos/success"][()].any()))
            earned.append(float(episode["rewards"][()].mean()))
    return starts, np.array(solved), np.array(earned)
