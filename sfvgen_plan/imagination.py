"""Imagined episodes as values, moved on decision by decision by the causal video transformer.

``begun`` and ``observe_latents`` show real frames, ``imagine`` makes new ones. One decision and G decisions in a row
are the same job. Nothing is changed in place, and gradients flow from what is read to the actions that ask for them.

Shapes: N episodes, G decisions, frames of latents (C, h, w), A action numbers, E text features, K features of a frame.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.layers import Memory
from sfvgen_plan.model import noise
from sfvgen_plan.model.attention import Cache, Window
from sfvgen_plan.model.condition import Condition
from sfvgen_plan.model.noise import noise_levels
from sfvgen_plan.model.transformer import VideoTransformer
from sfvgen_plan.replay import Replays
from sfvgen_plan.simulation import Outcome
from sfvgen_plan.values import Value

logger = logging.getLogger(__name__)

FRAME_STREAM, CONTEXT_STREAM = 0, 1
"""Streams of noise: of the frames to be made, and of what clean frames are shown with."""

_CACHED = ("keys", "values", "index")

Policy = Callable[[int, Tensor], Tensor]
"""The number of a decision from 0 on, and features (N, K) of the frame before it -> actions (N, A) in [-1, 1]."""


@dataclass(frozen=True)
class Imagination(Value):
    """N imagined episodes; a value, whose every tensor leads with N.

    Attributes:
        cache: keys and values of the newest clean frames, and what was remembered of older ones.
        latents: (N, C, h, w) the newest frame, standardised.
        features: (N, K) what the heads read of it.
        place: (N, A) the sum of the actions since the episode began.
        text: (N, E) features of the instruction.
        task: (N,) int64 index into the checkpoint's tasks.
        seed: (N,) int64, which stream of noise: with ``step`` the random state.
        step: (N,) int64, how many frames were shown or made.
    """

    cache: Cache
    latents: Tensor
    features: Tensor
    place: Tensor
    text: Tensor
    task: Tensor
    seed: Tensor
    step: Tensor

    def __len__(self) -> int:
        return len(self.seed)

    @property
    def memory(self) -> Memory | None:
        """What the episodes have learnt; None for a network without memory layers."""
        return self.cache.memory

    def tensors(self) -> dict[str, Tensor]:
        """All that it is made of, by name."""
        own = {name: getattr(self, name) for name in _TENSORS} | {name: getattr(self.cache, name) for name in _CACHED}
        return own if self.memory is None else own | self.memory.tensors()

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Imagination:
        """What ``tensors`` gave.

        Raises:
            KeyError: one is missing.
        """
        keys, values, index = (tensors[name] for name in _CACHED)
        cache = Cache(keys, values, index, int(index.min()), int(index.max()), Memory.of_tensors(tensors))
        return cls(cache, *(tensors[name] for name in _TENSORS))


_TENSORS = tuple(field.name for field in fields(Imagination) if field.name != "cache")


class Imaginer:
    """Imagines with a network whose weights it never changes.

    Args:
        network: the trained transformer.
        sampler_steps: denoising steps a frame, at least 1.
        exact: compute in float32 even where bfloat16 is faster.
        remembers: episodes learn what they see; False reads memory layers, which then know nothing.
        compiled: compile the step, and capture it for numbers of episodes that come again; only on a GPU, where it is
            told, and not if it is to be exact.
        one_hot: actions stand for one of a set: the largest number of each counts.
        terminates: episodes may end by themselves, which a head tells.

    Raises:
        UserError: ``sampler_steps`` below 1.
    """

    def __init__(
        self,
        network: VideoTransformer,
        sampler_steps: int = 1,
        exact: bool = False,
        remembers: bool = True,
        compiled: bool = False,
        one_hot: bool = False,
        terminates: bool = False,
    ) -> None:
        if sampler_steps < 1:
            raise UserError(f"sampler_steps={sampler_steps} must be 1 or more")
        self.device = network.embed.weight.device
        self.network = network
        self.action_dim = int(network.config.action_dim)  # A, numbers in an action
        if self.device.type == "cuda" and not exact:
            self.network = copy.deepcopy(network).rounded_().requires_grad_(False)
        self.sampler_steps, self.exact, self.remembers = sampler_steps, exact, remembers
        self.one_hot, self.terminates = one_hot, terminates
        self.levels = noise_levels(sampler_steps)
        self.denoiser_calls = 0
        self._replays: Replays | None = None
        if compiled and self.network is not network:
            logger.warning("compiling the imagined step for %s: the first calls take some seconds", self.device)
            self.network.compile_blocks()
            self._replays = Replays(self._decide, self.network.tokens)

    @torch.no_grad()
    def begun(self, latents: Tensor, text: Tensor, task: Tensor, seed: Tensor) -> Imagination:
        """N episodes that start from standardised frames (N, P, C, h, w), oldest first, whose actions are not known, of
        instructions with features (N, E) and tasks (N,) int64; ``seed`` (N,) int64 decides all noise."""
        count, frames = latents.shape[:2]
        actions = latents.new_zeros(count, frames, self.action_dim)
        empty = self.network.empty(count)
        none = latents.new_zeros(count, 0)
        start = Imagination(empty, latents[:, 0], none, actions[:, 0], text, task, seed, torch.zeros_like(seed))
        return self._followed(start, _fixed(actions), frames, latents, given=0.0)[0]

    @torch.no_grad()
    def observe_latents(self, state: Imagination, latents: Tensor, actions: Tensor) -> Imagination:
        """Go on with real frames (N, G, C, h, w), each of which its action (N, G, A) led to.

        Raises:
            UserError: actions of another shape, or not finite.
        """
        return self._followed(state, _fixed(self._checked(state, actions)), latents.shape[1], latents)[0]

    def imagine(self, state: Imagination, actions: Tensor) -> tuple[Imagination, Outcome]:
        """Go on with what the model makes of actions (N, G, A) in [-1, 1]. Gradients flow to actions that require them.

        Raises:
            UserError: actions of another shape, or not finite.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and actions.requires_grad):
            after, latents, features = self._followed(state, _fixed(self._checked(state, actions)), actions.shape[1])
            return after, self._outcome(latents, features)

    @torch.no_grad()
    def play(self, state: Imagination, policy: Policy, decisions: int) -> tuple[Imagination, Outcome, Tensor]:
        """Go on with what ``policy`` does on imagined frames; also returns its actions (N, G, A)."""
        actions: list[Tensor] = []

        def choose(g: int, features: Tensor) -> Tensor:
            actions.append(self._played(policy(g, features)))
            return actions[-1]

        after, latents, features = self._followed(state, choose, decisions)
        return after, self._outcome(latents, features), torch.stack(actions, 1)

    @torch.no_grad()
    def read(self, state: Imagination) -> Outcome:
        """What the heads say of every episode's newest frame (G = 1)."""
        return self._outcome(state.latents[:, None], state.features[:, None])

    @torch.no_grad()
    def dreamt(self, state: Imagination, frames: int) -> tuple[Imagination, Tensor, Tensor]:
        """Videos of what the episodes' texts alone ask for: the episodes at their ends, the frames (N, G, C, h, w), and
        the actions (N, G, A) that lead along them, by inverse dynamics."""
        unknown = state.place.new_zeros(len(state), 1, self.action_dim)
        latents, actions = [], []
        for _ in range(frames):
            after, latent, features = self._followed(state, _fixed(unknown), 1, given=0.0)
            action = self.network.between(state.features, features[:, 0])
            state = replace(after, place=state.place + action)
            latents.append(latent)
            actions.append(action)
        return state, torch.cat(latents, 1), torch.stack(actions, 1)

    def _followed(
        self, state: Imagination, policy: Policy, decisions: int, shown: Tensor | None = None, given: float = 1.0
    ) -> tuple[Imagination, Tensor, Tensor]:
        """The episodes after the policy's actions, the frames (N, G, C, h, w) that these led to, and their features
        (N, G, K). The frames are those ``shown``, or imagined ones; ``given`` is 0 where the actions are not known."""
        network = self.network
        tokens = None if shown is None else network.patches(shown.float())
        replay = self._replays.of(state, tokens) if self._replays is not None else None
        if shown is None:
            self.denoiser_calls += decisions * self.sampler_steps
        if replay is not None:
            cache, place, frames, features = replay.run(state, policy, decisions, given, tokens)
        else:
            place, frames, features = state.place, [], []
            flag, window = place.new_full((len(state), 1), given), Window(state.cache, network.tokens)
            for g in range(decisions):
                action = policy(g, features[-1][:, 0] if features else state.features)
                place = place + given * action
                known = Condition(action[:, None], flag, place[:, None], state.text[:, None])
                frame, read = self._decide(state, window, known, None if tokens is None else tokens[:, g : g + 1], g)
                frames.append(frame)
                features.append(read)
            cache = window.cache(decisions)
        latents, read = network.latents(torch.cat(frames, 1)), torch.cat(features, 1)
        after = replace(
            state, cache=cache, latents=latents[:, -1], features=read[:, -1], place=place, step=state.step + decisions
        )
        return after, latents, read

    def _decide(
        self, state: Imagination, window: Window, known: Condition, shown: Tensor | None, g: int = 0
    ) -> tuple[Tensor, Tensor]:
        """A frame (N, 1, S, V), the one ``shown`` or an imagined one, and its features (N, 1, K)."""
        frame = shown
        if frame is None:
            frame = self.network.sample(window, g, self._noise(state, g, FRAME_STREAM), known, self.levels)
        return frame, self._look(state, window, g, frame, known, imagined=shown is None)

    def _look(
        self, state: Imagination, window: Window, g: int, frame: Tensor, known: Condition, imagined: bool
    ) -> Tensor:
        """Features (N, 1, K) of a clean frame (N, 1, S, V), shown with a little noise, which hides small errors."""
        level = self.network.config.context_noise
        shown = frame + level * self._noise(state, g, CONTEXT_STREAM)
        levels, made = torch.full_like(known.given, level), torch.full_like(known.given, imagined, dtype=torch.bool)
        tokens = self.network.look(window, g, shown, levels, known, made, self.remembers)
        return self.network.features(tokens)

    def _noise(self, state: Imagination, g: int, stream: int) -> Tensor:
        """(N, 1, S, V), of the episode's seed and the number of the frame alone."""
        shape = (1, self.network.tokens, self.network.embed.in_features)
        return noise.normal(state.seed, state.step + g, shape, stream)

    def _outcome(self, latents: Tensor, features: Tensor) -> Outcome:
        """What the heads say of frames (N, G, C, h, w) with these features (N, G, K), in the environment's units."""
        config = self.network.config
        said = self.network.read(features)
        mean, std = (said.estimates.new_tensor(x) for x in (config.estimate_mean, config.estimate_std))
        return Outcome(
            said.reward * config.reward_scale, said.success.sigmoid(), said.value, said.estimates * std + mean,
            said.termination.sigmoid() if self.terminates else None, latents, features,
        )  # fmt: skip

    def _checked(self, state: Imagination, actions: Tensor) -> Tensor:
        wanted = (len(state), self.action_dim)
        if actions.ndim != 3 or (actions.shape[0], actions.shape[2]) != wanted or not actions.shape[1]:
            raise UserError(f"actions of shape {tuple(actions.shape)} don't fit; give ({wanted[0]}, G, {wanted[1]})")
        if not bool(actions.isfinite().all()):
            raise UserError("actions hold NaN or infinity; give numbers in [-1, 1]")
        return self._played(actions.to(self.device, torch.float32))

    def _played(self, actions: Tensor) -> Tensor:
        """Actions (..., A) as the network was taught them."""
        if not self.one_hot:
            return actions.clamp(-1, 1)
        # Gradients pass as if nothing had been chosen.
        return F.one_hot(actions.argmax(-1), self.action_dim) + (actions - actions.detach())


def _fixed(actions: Tensor) -> Policy:
    """Plays actions (N, G, A), whatever is seen."""
    return lambda g, features: actions[:, g]
