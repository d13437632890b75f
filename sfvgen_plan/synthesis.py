"""Video planning (UPDP; SlowFast-VGen, section 3.4): φ imagines a video from a text, inverse dynamics tell its actions.

Nothing is executed in between: the denoiser is trained with actions dropped, so it makes up what the text asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sfvgen_plan.anchors import Anchor
from sfvgen_plan.errors import UserError
from sfvgen_plan.model import noise
from sfvgen_plan.model.inverse import InverseDynamics
from sfvgen_plan.model.pipeline import CONTEXT_WINDOW
from sfvgen_plan.simulator import Imagination, LearnedSimulator


class Synthesis:
    """Videos and their actions, in the states of a learned simulator: its context frames, its memory, its random state.

    Args:
        simulator: whose model imagines; its ``denoiser_calls`` are counted on.
        inverse: maps consecutive frames to actions.
    """

    def __init__(self, simulator: LearnedSimulator, inverse: InverseDynamics) -> None:
        self.simulator, self.inverse = simulator, inverse
        card = simulator.checkpoint.card
        texts = [*card.tasks.values(), *card.sub_goals]
        # Padding takes part in attention: every text is made as long as training's, whatever shares its batch.
        tokens, _ = simulator.pipeline.embed(texts)
        self._tokens = dict(zip(texts, tokens, strict=True))
        self._longest = max(texts, key=lambda text: len(simulator.pipeline.tokenizer(text).input_ids))

    @property
    def most_frames(self) -> int:
        """Of a video."""
        return CONTEXT_WINDOW - self.simulator.context_frames

    @torch.inference_mode()
    def imagine(self, state: Imagination, texts: Sequence[str], frames: int) -> tuple[Imagination, Tensor]:
        """Videos of ``frames`` new frames, (N, G, C, h, w) latents, one of each text, and the states at their ends.

        The text may be any; words beyond the longest text of training are cut off.

        Raises:
            UserError: more frames than fit into the context window.
        """
        if not 1 <= frames <= self.most_frames:
            raise UserError(f"frames={frames} don't fit into one pass; give 1 to {self.most_frames}")
        simulator = self.simulator
        context = state.context[:, -simulator.context_frames :]
        drawn = noise.normal(state.seed, state.step, (frames, *context.shape[2:]))
        text = torch.stack([self._tokens_of(one) for one in texts])
        with simulator.precision():
            video = simulator.generate(state, context, None, text, drawn).float()
        simulator.denoiser_calls += simulator.sampler_steps
        newest = torch.cat([state.context, video], dim=1)[:, -max(2, simulator.context_frames) :]
        step, anchor = state.step + 1, None
        if state.anchor is not None:  # it moves to the video's end: no actions are known that would imagine that anew
            kept, most = newest[:, -simulator.context_frames :], state.anchor.actions.shape[1]
            anchor = Anchor.at(kept, state.seed, step, simulator.input_dim, most)
        track = simulator.located(newest, state.task)
        return replace(state, context=newest, step=step, actions=None, anchor=anchor, track=track), video

    @torch.inference_mode()
    def actions(self, state: Imagination, video: Tensor) -> Tensor:
        """What leads from the state's newest frame along a video (N, G, C, h, w): actions (N, G, A) in [-1, 1]."""
        frames = torch.cat([state.context[:, -1:], video], dim=1)
        pairs = torch.stack([frames[:, :-1], frames[:, 1:]], dim=2)
        with self.simulator.precision():
            found = self.inverse(pairs.flatten(0, 1)).float()
        return found.clamp(-1, 1).unflatten(0, video.shape[:2])

    def _tokens_of(self, text: str) -> Tensor:
        """Token features (L, E), of the same L for every text."""
        if text not in self._tokens:
            length = len(self._tokens[self._longest])
            self._tokens[text] = self.simulator.pipeline.embed([self._longest, text])[0][1, :length]
        return self._tokens[text]
