"""A checkpoint: the pipeline's folder, and beside it what the model was trained for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sfvgen_plan.actions import Actions
from sfvgen_plan.cameras import frame_shape, frames_of
from sfvgen_plan.catalogue import CARD_FILE, find_checkpoint, some
from sfvgen_plan.devices import resolve_device
from sfvgen_plan.errors import UserError, reason, unknown_name
from sfvgen_plan.model.logs import held_back, hide_progress_bars
from sfvgen_plan.model.pipeline import SlowFastVGenPipeline
from sfvgen_plan.settings import flat
from sfvgen_plan.simulation import Prior

if TYPE_CHECKING:
    from sfvgen_plan.simulator import LearnedSimulator

STARTS_FILE = "starts.safetensors"
PRIORS = ("prior", "prior10")


@dataclass(frozen=True)
class CheckpointCard:
    """What a checkpoint was trained for; stored as ``checkpoint.json``.

    Attributes:
        tasks: task name -> instruction, in training order.
        size, camera, repeat: side of the pictures in pixels, the camera, or several as in "front+wrist", raw simulator
            steps per decision.
        raw_steps_per_second: of the simulator.
        action_dim: numbers in an action.
        reward_scale: the largest size of a decision's reward.
        readouts: names of the state numbers that the heads read out of a frame.
        training: free-form record of data, seeds, command, device, time and losses.
        sub_goals: texts beside the instructions that parts of episodes were described by.
        actions: the environment's action space, as ``Actions.stored`` gives it; None: numbers in [-1, 1].
        terminates: whether tasks end by themselves, so that imagined ones do, too.
    """

    tasks: dict[str, str]
    size: int
    camera: str
    repeat: int
    raw_steps_per_second: int = 80
    action_dim: int = 4
    reward_scale: float = 1.0
    readouts: list[str] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)
    sub_goals: list[str] = field(default_factory=list)
    actions: dict[str, Any] | None = None
    terminates: bool = False

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, 3); the pictures of several cameras lie one above the other."""
        return frame_shape(self.size, self.camera)


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        pipeline: the model.
        card: what it was trained for.
        starts: task name -> latents (S, C, h, w) of real start frames, for imagined episodes.
        path: the folder it came from.
    """

    pipeline: SlowFastVGenPipeline
    card: CheckpointCard
    starts: dict[str, Tensor]
    path: Path

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks that it was trained on."""
        return list(self.card.tasks)

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        return self.card.size

    @property
    def camera(self) -> str:
        """Camera that the frames come from, or several, as in "front+wrist"."""
        return self.card.camera

    @property
    def repeat(self) -> int:
        """Raw simulator steps per decision."""
        return self.card.repeat

    @property
    def frames(self) -> dict[str, Any]:
        """Size, camera and repeat of its frames, as environments take them."""
        return {"size": self.card.size, "camera": self.card.camera, "repeat": self.card.repeat}

    @cached_property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, 3) of its frames."""
        return self.card.frame_shape

    @cached_property
    def actions(self) -> Actions:
        """Of the environment, and how the network is told of them."""
        return Actions.of(self.card.actions, self.card.action_dim)

    @cached_property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of all weights and component settings, in path order."""
        digest = hashlib.sha256()
        for file in sorted(f for kind in ("*.safetensors", "*/*.json") for f in self.path.rglob(kind)):
            if file.relative_to(self.path).parts[0] == "training":
                continue
            digest.update(file.relative_to(self.path).as_posix().encode())
            digest.update(file.read_bytes())
        return digest.hexdigest()[:12]

    def task_index(self, task: str) -> int:
        """Position of the task in the checkpoint's list.

        Raises:
            UserError: the checkpoint was not trained on it.
        """
        if task not in self.card.tasks:
            raise UserError(
                f"task={task!r} is not in the checkpoint {self.path} (it lists {some(self.tasks)}); "
                "choose one of those, another checkpoint, or train one on it with sfvgen-plan train"
            )
        return self.tasks.index(task)

    def told(self, task: str, description: str) -> str:
        """What an episode of a task is told: its own ``description`` if that is known from training, else the task's
        instruction."""
        return description if description in self.card.sub_goals else self.card.tasks[task]

    def check_fits(self, tasks: Iterable[str], frames: Any, named: str, remedy: str) -> None:
        """Refuse what it was not trained for.

        Args:
            tasks: task names.
            frames: anything with ``size``, ``camera`` and ``repeat``.
            named: what ``frames`` is, for the message.
            remedy: what to do about another size, camera or repeat.

        Raises:
            UserError: a task that it does not list, or other frames.
        """
        for task in tasks:
            self.task_index(task)
        for name, other in frames_of(frames).items():
            if (own := self.frames[name]) != other:
                raise UserError(
                    f"checkpoint={str(self.path)!r} was trained with {name}={own!r}, but {named} has {name}={other!r}; "
                    f"{remedy}"
                )

    @property
    def has_memory(self) -> bool:
        """Whether its network has memory layers."""
        network = self.pipeline.transformer
        return network is not None and bool(network.memory_blocks)

    def simulator(
        self, sampler_steps: int = 1, memory: bool | None = None, exact: bool = False, compiled: bool = False
    ) -> LearnedSimulator:
        """The learned simulator of this checkpoint; see ``LearnedSimulator`` for the arguments."""
        from sfvgen_plan.simulator import LearnedSimulator

        return LearnedSimulator(self, sampler_steps, memory, exact, compiled)

    def prior(self, name: str = "prior") -> Prior:
        """A behaviour-cloned prior of the checkpoint: ``prior`` or ``prior10`` (10 expert episodes per task).

        Raises:
            UserError: another name, or a checkpoint without heads.
        """
        if name not in PRIORS:
            raise unknown_name("prior", name, PRIORS)
        if self.pipeline.transformer is None:
            raise UserError(f"checkpoint {self.path} has no policy prior; use an agent that needs none")
        return partial(self.pipeline.transformer.propose, few=name == "prior10")


def save_checkpoint(
    path: Path, pipeline: SlowFastVGenPipeline, card: CheckpointCard, starts: dict[str, Tensor]
) -> None:
    """Write a checkpoint folder: safetensors and JSON only, and a model card for people.

    The pipeline's weights are rounded to bfloat16 and stay so.
    """
    path.mkdir(parents=True, exist_ok=True)
    hide_progress_bars()
    for name, component in pipeline.components.items():
        if name == "transformer" and component is not None:
            component.rounded_()
        elif isinstance(component, torch.nn.Module):
            # The base class's own: diffusers warns of modules to keep in float32 where there are none.
            torch.nn.Module.to(component, torch.bfloat16)
    pipeline.save_pretrained(path)
    for config in [path / "model_index.json", *path.glob("*/config.json")]:
        told = json.loads(config.read_text())
        if told.pop("_name_or_path", None) is not None:  # where the weights came from: a path of somebody's machine
            config.write_text(json.dumps(told, indent=2) + "\n")
    save_file({task: s.contiguous() for task, s in starts.items()}, path / STARTS_FILE)
    (path / CARD_FILE).write_text(json.dumps(asdict(card), indent=1) + "\n")
    from jinja2 import Environment

    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    readme = environment.from_string(Path(__file__).with_name("card.md.jinja").read_text(encoding="utf-8"))
    (path / "README.md").write_text(readme.render(card=card, record=card.training, flat=flat), encoding="utf-8")


def load_checkpoint(path: str | Path | Checkpoint | None = None, device: str | torch.device = "cpu") -> Checkpoint:
    """Load a checkpoint, given by its folder or by its name in the package; None is the bundled one, and one that is
    loaded already stays as it is. Never runs code from it. ``device``: torch's, or "auto", the GPU if there is one.

    Raises:
        UserError: there is no such device, or the folder or a file in it is missing or damaged.
    """
    if path is not None and not isinstance(path, (str, Path)):
        return path
    device, folder = resolve_device(str(device)), find_checkpoint(path)
    try:
        card = _read_card(folder / CARD_FILE)
        starts = load_file(folder / STARTS_FILE)
        with held_back():
            # Stored in half precision, computed in single precision; low-precision compute is the caller's autocast.
            pipeline = SlowFastVGenPipeline.from_pretrained(
                str(folder),
                dtype=torch.float32,
                local_files_only=True,
                low_cpu_mem_usage=False,
                use_safetensors=True,  # otherwise a missing file would be looked for as a pickle
            )
        # A lost tokenizer file gives an empty vocabulary without a word.
        if len(pipeline.tokenizer) != pipeline.text_encoder.config.vocab_size:
            raise ValueError("tokenizer and text encoder have different vocabularies")
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise UserError(
            f"checkpoint={str(folder)!r} can't be loaded ({reason(error)}); the file is missing or damaged: "
            "restore the folder or train it again"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device)
    pipeline.vae.to(memory_format=torch.channels_last)  # faster for pictures, on GPUs and CPUs
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            component.requires_grad_(False)  # what is imagined may be differentiated, but not after the weights
    return Checkpoint(pipeline, card, {task: s.to(device, torch.float32) for task, s in starts.items()}, folder)


def _read_card(file: Path) -> CheckpointCard:
    """The card in the file; ValueError or TypeError if it is none."""
    card = CheckpointCard(**json.loads(file.read_text()))
    numbers = (card.size, card.repeat, card.raw_steps_per_second, card.action_dim)
    named = isinstance(card.tasks, dict) and all(isinstance(text, str) for text in card.tasks.values())
    listed = all(isinstance(text, str) for text in (*card.sub_goals, *card.readouts))
    Actions.of(card.actions, card.action_dim)  # KeyError and the like if it is none
    if not named or not listed or not card.tasks or not all(type(number) is int and number > 0 for number in numbers):
        raise ValueError(f"{file.name} is no checkpoint card: tasks, read-outs, size, repeat or action_dim is off")
    return card
