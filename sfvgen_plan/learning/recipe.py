"""What a recipe of ``sfvgen-plan train`` can say, and what holds where it says nothing. Imports no torch, so that a bad
number is refused at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from sfvgen_plan.errors import UserError
from sfvgen_plan.settings import REQUIRED, Settings, bounded, check_number

Made = TypeVar("Made")


@dataclass(frozen=True)
class StageSettings(Settings):
    """Hyperparameters of one stage.

    Attributes:
        steps: optimiser steps; 0 leaves the networks as they are.
        batch: samples per step over all processes.
        learning_rate: peak rate; warmed up over ``warmup`` steps, then cosine to zero (``constant``: no decay).
        ema: decay of the averaged weights.
        clip: largest gradient norm.

    Raises:
        UserError: a number that makes no sense. The message begins with the setting's name.
    """

    steps: int = bounded(..., 0)
    batch: int = bounded(..., 1)
    learning_rate: float = bounded(..., 0, above=True)
    warmup: int = bounded(200, 0)
    weight_decay: float = bounded(0.01, 0)
    ema: float = bounded(0.998, 0, 1)
    clip: float = bounded(1.0, 0, above=True)
    constant: bool = False

    def rate(self, step: int) -> float:
        """Factor on the learning rate at a step."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        return warm if self.constant else warm * 0.5 * (1 + math.cos(math.pi * step / max(1, self.steps)))

    def decay(self, step: int) -> float:
        """Decay of the averaged weights at a step: short runs would otherwise average in the random start."""
        return min(self.ema, (1 + step) / (10 + step))


@dataclass(frozen=True)
class AutoencoderLoss(Settings):
    """Weights of the autoencoder's losses beside the plain error of pixels.

    Attributes:
        foreground: extra weight of pixels that differ from the task's background, where little things are.
        large: of the error's fourth power: a marker of ten pixels that is missing weighs more than faint blur.
        readout: of the state read-out (unit-scale mean squared error).
        kl: of the KL divergence per latent number.
    """

    foreground: float = bounded(4.0, 0)
    large: float = bounded(10.0, 0)
    readout: float = bounded(1.0, 0)
    kl: float = bounded(1.0e-4, 0)


@dataclass(frozen=True)
class VideoSettings(Settings):
    """How the video transformer is trained.

    Attributes:
        frames: T, of a training window. An episode that fits in is always taken from its beginning.
        context_noise: largest noise level of clean frames; levels are ``context_noise`` times a squared uniform number.
        log_mean, log_std: of ln sigma of the frames to be denoised (EDM). Sampling in one or two steps begins at high
            noise, and memory is asked for only where noise hides the frame.
        drop_action, drop_text: share of windows whose actions are not known from some frame on (video planning, inverse
            dynamics), and of those without text.
        dream: share of steps whose contexts are the model's own frames, once ``dream_from`` steps are done.
        shown: most true frames at a dream's beginning; each window has 1 to that many.
        alone: frames of each window that are read once more as an episode's first ones, without what came before.
        loop: memory layers learn what to write, and read it (slow-fast learning loop, algorithm 1b); False: nothing is
            written while training.
        rarity: how much more often windows begin in states that the data has little of: 0 not at all, 1 so that all
            states are seen as often.
        success_rarity: how much more solved frames weigh in the success head's loss: 0 as much as others, 1 so that
            all of them together weigh as much as all others together.
        gamma: discount per decision of the value.
        expectile: above 0.5 the value leans to the better of the actions seen in a state (IQL, Kostrikov et al. 2022).
        success_share: progress is that share of success, and the rest of reward; reward alone where nothing succeeded.
        steady: weight in the prior's loss of a decision that goes on as the last one did, where one of a new direction
            has 1. Who imitates both alike learns to repeat itself, and rests where it rested (Wen et al. 2021,
            "Keyframe-focused visual imitation learning").
        estimates, reward, success, termination, value, prior, inverse: weights of the heads' losses beside the
            denoising loss.
        beginning: weight of the error of the first frame as it is known when it has left the window; of networks with
            memory layers of the beginning.

    Raises:
        UserError: a number that makes no sense. The message begins with the setting's name.
    """

    frames: int = bounded(16, 2)
    context_noise: float = bounded(0.5, 0)
    log_mean: float = 2.0
    log_std: float = 1.6
    drop_action: float = bounded(0.05, 0, 1)
    drop_text: float = bounded(0.1, 0, 1)
    dream: float = bounded(0.5, 0, 1)
    dream_from: int = bounded(2000, 0)
    shown: int = bounded(4, 1)
    alone: int = bounded(0, 0)
    loop: bool = True
    rarity: float = bounded(0.0, 0, 1)
    success_rarity: float = bounded(0.0, 0, 1)
    gamma: float = bounded(0.95, 0, 1)
    expectile: float = bounded(0.8, 0, 1)
    success_share: float = bounded(0.5, 0, 1)
    steady: float = bounded(0.1, 0, 1)
    estimates: float = bounded(0.5, 0)
    reward: float = bounded(1.0, 0)
    success: float = bounded(0.1, 0)
    termination: float = bounded(0.1, 0)
    value: float = bounded(1.0, 0)
    prior: float = bounded(1.0, 0)
    inverse: float = bounded(0.1, 0)
    beginning: float = bounded(2.0, 0)


@dataclass(frozen=True)
class ChunkSettings(Settings):
    """How ModelScope's UNet is trained.

    Attributes:
        lengths: of windows, f_p + f_g frames; one is drawn per step.
        longest_context: f_p is drawn from 1 to that many.
        drop_action, drop_text: share of windows without that condition.
    """

    lengths: Sequence[int] = (9, 17, 32)
    longest_context: int = bounded(16, 1)
    drop_action: float = bounded(0.05, 0, 1)
    drop_text: float = bounded(0.1, 0, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for length in self.lengths:
            check_number("lengths", length, 2, 32)


@dataclass(frozen=True)
class TransformerChanges:
    """Changes to the arguments of ``VideoTransformer``; None leaves its own default."""

    summed: int | None = None
    window: int | None = None
    patch: int | None = None
    dim: int | None = None
    depth: int | None = None
    heads: int | None = None
    conditioning: int | None = None
    squeezed: int | None = None
    memory: str | None = None
    memory_blocks: Sequence[int] | None = None
    memory_rank: int | None = None
    memory_beginning: Sequence[int] | None = None
    context_noise: float | None = None

    def chosen(self) -> dict[str, Any]:
        """Those that are changed."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class ModelSettings:
    """Sizes of the networks; see ``build_pipeline``."""

    autoencoder_widths: Sequence[int] = (24, 48, 64, 96, 128)
    latent_channels: int = 16
    text_dim: int = 64
    transformer: TransformerChanges = field(default_factory=TransformerChanges)


@dataclass(frozen=True)
class AutoencoderStageSettings:
    """Stage 1."""

    fit: StageSettings
    loss: AutoencoderLoss = field(default_factory=AutoencoderLoss)


@dataclass(frozen=True)
class VideoStageSettings:
    """Stage 2. ``learning`` is for the video transformer, ``chunks`` for the UNet of a recipe with a ``base``."""

    fit: StageSettings
    learning: VideoSettings = field(default_factory=VideoSettings)
    chunks: ChunkSettings = field(default_factory=ChunkSettings)


@dataclass(frozen=True)
class Recipe:
    """A file of ``configs/train``.

    Attributes:
        base: a text-to-video checkpoint in ModelScope's layout to start from, whose autoencoder and text encoder stay
            as they are; None: new networks of the sizes that ``model`` says.
        text_steps: of the text encoder, which learns how much alike the texts are.
        mirror: every episode again as in a mirror; where the camera looks along a plane of symmetry (RLBench).
    """

    autoencoder: AutoencoderStageSettings
    video: VideoStageSettings
    base: str | None = None
    model: ModelSettings = field(default_factory=ModelSettings)
    text_steps: int = 300
    mirror: bool = False


def blank(kind: Any) -> dict[str, Any]:
    """The settings of a dataclass as nested values: its defaults, and ``REQUIRED`` where it has none."""
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for item in fields(kind):
        if is_dataclass(hints[item.name]):
            values[item.name] = blank(hints[item.name])
        else:
            values[item.name] = REQUIRED if item.default is MISSING else item.default
    return values


def filled(kind: type[Made], values: Mapping[str, Any], place: str) -> Made:
    """A dataclass from nested values, such as ``blank`` gives. Raises UserError: a number that makes no sense, with its
    dotted name, which begins with ``place``."""
    hints = get_type_hints(kind)
    given = {
        name: filled(hints[name], value, f"{place}.{name}") if is_dataclass(hints[name]) else value
        for name, value in values.items()
    }
    try:
        return kind(**given)
    except UserError as error:
        # What a part of it refuses has its name already.
        raise error if str(error).startswith(f"{place}.") else UserError(f"{place}.{error}") from None
