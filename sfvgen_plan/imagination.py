"""Imagined episodes as values, moved on decision by decision by the causal video transformer.

``begin`` and ``observe`` show real frames, ``imagine`` makes new ones. One decision and G decisions in a row are the
same job. Nothing is changed in place, and gradients flow from what is read to the actions where they ask for them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from sfvgen_plan.errors import UserError
from sfvgen_plan.model import noise
from sfvgen_plan.model.cache import Cache, Window
from sfvgen_plan.model.transformer import Condition, VideoTransformer, noise_levels

FRAME_STREAM, CONTEXT_STREAM = 0, 1
"""Streams of noise: of the frames to be made, and of what clean frames are shown with."""


@dataclass(frozen=True)
class Episodes:
    """N imagined episodes; a value, whose every tensor leads with N.

    Attributes:
        cache: keys and values of the newest clean frames.
        latents: (N, C, h, w) the newest frame, standardised.
        features: (N, K) what the heads read of it.
        place: (N, A) the sum of the actions since the episode began.
        text: (N, E) features of the instruction.
        seed, step: (N,) int64 random state: which stream of noise, and how many frames were shown or made.
    """

    cache: Cache
    latents: Tensor
    features: Tensor
    place: Tensor
    text: Tensor
    seed: Tensor
    step: Tensor

    def __len__(self) -> int:
        return len(self.seed)

    def select(self, index: Tensor) -> Episodes:
        """The episodes named by ``index`` (M,) int64, in that order; forks share their random state."""
        rest = {name: getattr(self, name)[index] for name in _TENSORS}
        return Episodes(self.cache.select(index), **rest)

    def replaced(self, index: Tensor, part: Episodes) -> Episodes:
        """The same episodes, but those that ``index`` names are the ones of ``part``."""
        rest = {name: getattr(self, name).index_copy(0, index, getattr(part, name)) for name in _TENSORS}
        return Episodes(self.cache.replaced(index, part.cache), **rest)

    def reseeded(self, seed: Tensor) -> Episodes:
        """The same episodes with other possible futures, of seeds (N,)."""
        return replace(self, seed=seed)


_TENSORS = tuple(field.name for field in fields(Episodes) if field.name != "cache")


@dataclass(frozen=True)
class Imagined:
    """What G decisions led to, for N episodes.

    Attributes:
        reward: (N, G) in the environment's unit.
        success, termination: (N, G) probabilities in [0, 1], at that decision.
        value: (N, G) discounted future progress in [0, 1] from that decision on.
        estimates: (N, G, D) state read-outs.
        latents: (N, G, C, h, w) standardised frames.
        features: (N, G, K) what the heads, the policy prior among them, read.
    """

    reward: Tensor
    success: Tensor
    termination: Tensor
    value: Tensor
    estimates: Tensor
    latents: Tensor
    features: Tensor


class Imagination:
    """Imagines with a network whose weights it never changes.

    Args:
        network: the trained transformer.
        sampler_steps: denoising steps a frame, at least 1.
        exact: compute in float32 even where bfloat16 is faster.

    Raises:
        UserError: ``sampler_steps`` below 1.
    """

    def __init__(self, network: VideoTransformer, sampler_steps: int = 1, exact: bool = False) -> None:
        if sampler_steps < 1:
            raise UserError(f"sampler_steps={sampler_steps} must be 1 or more")
        self.network, self.sampler_steps, self.exact = network, sampler_steps, exact
        self.levels = noise_levels(sampler_steps)
        self.device = network.embed.weight.device

    def begin(self, latents: Tensor, text: Tensor, seed: Tensor) -> Episodes:
        """Start N episodes from frames (N, P, C, h, w), oldest first, whose actions are not known.

        Args:
            latents: standardised.
            text: (N, E) features of the instructions.
            seed: (N,) int64, decides all noise.
        """
        count, frames = latents.shape[:2]
        actions = latents.new_zeros(count, frames, self.network.config.action_dim)
        with self._precision():
            empty = self.network.empty(count)
        none = latents.new_zeros(count, 0)
        start = Episodes(empty, latents[:, 0], none, actions[:, 0], text, seed, torch.zeros_like(seed))
        return self._followed(start, actions, latents, given=0.0)[0]

    def observe(self, episodes: Episodes, latents: Tensor, actions: Tensor) -> Episodes:
        """Go on with real frames (N, G, C, h, w), each of which its action (N, G, A) led to."""
        return self._followed(episodes, self._checked(episodes, actions), latents)[0]

    def imagine(self, episodes: Episodes, actions: Tensor) -> tuple[Episodes, Imagined]:
        """Go on with what the model makes of actions (N, G, A) in [-1, 1].

        Raises:
            UserError: actions of another shape, or not finite.
        """
        after, latents, features = self._followed(episodes, self._checked(episodes, actions).clamp(-1, 1))
        return after, self._outcome(latents, features)

    def read(self, episodes: Episodes) -> Imagined:
        """What the heads say of every episode's newest frame (G = 1)."""
        return self._outcome(episodes.latents[:, None], episodes.features[:, None])

    def prior(self, episodes: Episodes, few: bool = False) -> Tensor:
        """Actions (N, A) in [-1, 1] that the policy prior proposes; ``few``: the one of ten demonstrations a task."""
        with self._precision():
            proposed = (self.network.prior10 if few else self.network.prior)(episodes.features)
        return proposed.float().clamp(-1, 1)

    def _followed(
        self, episodes: Episodes, actions: Tensor, shown: Tensor | None = None, given: float = 1.0
    ) -> tuple[Episodes, Tensor, Tensor]:
        """The episodes after actions (N, G, A), the frames (N, G, C, h, w) that these led to, and their features
        (N, G, K). The frames are those ``shown``, or imagined ones; ``given`` is 0 where the actions are not known."""
        network, decisions = self.network, actions.shape[1]
        flag = actions.new_full((len(episodes), 1), given)
        places = episodes.place[:, None] + given * actions.cumsum(1)
        frames, features = [], []
        with self._precision():
            window = network.room(episodes.cache, decisions)
            tokens = None if shown is None else network.patches(shown.float())
            for g in range(decisions):
                now = slice(g, g + 1)
                known = Condition(actions[:, now], flag, places[:, now], episodes.text)
                if tokens is None:
                    frame = network.sample(window, g, self._noise(episodes, g, FRAME_STREAM), known, self.levels)
                else:
                    frame = tokens[:, now]
                frames.append(frame)
                features.append(self._look(episodes, window, g, frame, known))
            latents, read = network.latents(torch.cat(frames, 1)), torch.cat(features, 1)
        after = replace(
            episodes, cache=window.cache(decisions), latents=latents[:, -1], features=read[:, -1],
            place=places[:, -1], step=episodes.step + decisions,
        )  # fmt: skip
        return after, latents, read

    def _look(self, episodes: Episodes, window: Window, g: int, frame: Tensor, known: Condition) -> Tensor:
        """Features (N, 1, K) of a clean frame (N, 1, S, V), shown with a little noise, which hides small errors."""
        level = self.network.config.context_noise
        shown = frame + level * self._noise(episodes, g, CONTEXT_STREAM)
        tokens = self.network.look(window, g, shown, torch.full_like(known.given, level), known)
        return self.network.features(tokens).float()

    def _noise(self, episodes: Episodes, g: int, stream: int) -> Tensor:
        """(N, 1, S, V), of the episode's seed and the number of the frame alone."""
        shape = (1, self.network.tokens, self.network.embed.in_features)
        return noise.normal(episodes.seed, episodes.step + g, shape, stream)

    def _outcome(self, latents: Tensor, features: Tensor) -> Imagined:
        """What the heads say of frames (N, G, C, h, w) with these features (N, G, K), in the environment's units."""
        config = self.network.config
        with self._precision():
            said = self.network.read(features)
        mean, std = (said.estimates.new_tensor(x) for x in (config.estimate_mean, config.estimate_std))
        return Imagined(
            said.reward * config.reward_scale, said.success.sigmoid(), said.termination.sigmoid(), said.value,
            said.estimates * std + mean, latents, features,
        )  # fmt: skip

    def _checked(self, episodes: Episodes, actions: Tensor) -> Tensor:
        wanted = (len(episodes), self.network.config.action_dim)
        if actions.ndim != 3 or (actions.shape[0], actions.shape[2]) != wanted or not actions.shape[1]:
            raise UserError(f"actions of shape {tuple(actions.shape)} don't fit; give ({wanted[0]}, G, {wanted[1]})")
        if not bool(actions.isfinite().all()):
            raise UserError("actions hold NaN or infinity; give numbers in [-1, 1]")
        return actions.to(self.device, torch.float32)

    def _precision(self) -> AbstractContextManager[None]:
        """float32 on a CPU and if it is to be exact, else bfloat16."""
        rounded = self.device.type == "cuda" and not self.exact
        return torch.autocast(self.device.type, torch.bfloat16, enabled=rounded)
