"""Slow learning of Φ: the video transformer and all its heads in one step, on real windows and on its own dreams."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import TrainingData, pick
from sfvgen_plan.learning.dreams import Dreams, shares
from sfvgen_plan.learning.recipe import VideoSettings
from sfvgen_plan.learning.trainer import training_precision
from sfvgen_plan.model.condition import Condition
from sfvgen_plan.model.noise import target
from sfvgen_plan.model.transformer import Reading, VideoTransformer

TURN = 0.5  # difference of one number of two successive actions from which on the second is a new direction


class VideoObjective(nn.Module):
    """Eq. 2 for every frame of a window at once (see ``VideoTransformer.training_pass``), and the heads' losses on the
    clean frames' features."""

    def __init__(self, network: VideoTransformer, settings: VideoSettings) -> None:
        super().__init__()
        self.network, self.settings = network, settings
        self.solved = 1.0
        """Weight of solved frames in the success head's loss."""

    def forward(
        self,
        truth: Tensor,
        shown: Tensor,
        shown_noise: Tensor,
        noisy: Tensor,
        noise: Tensor,
        actions: Tensor,
        given: Tensor,
        place: Tensor,
        text: Tensor,
        labels: Tensor,
        estimates: Tensor,
        expert: Tensor,
        alone: Tensor,
    ) -> dict[str, Tensor]:
        """Tokens truth, shown, noisy (B, T, S, V); noise levels, given (B, T); actions, place, expert (B, T, A); text
        (B, T, E); unit-scale estimates (B, T, D); labels (B, T, 9): whether the frame exists, whether something led to
        it, reward (unit scale), success, progress, whether the data ends there, whether the task does, whether there is
        an expert's action, whether prior10 may learn from it; alone (B, K) numbers of the frames that are read once
        more as an episode's first ones."""
        network, s = self.network, self.settings
        known = Condition(actions, given, place, text)
        real, led, _, _, progress, ends, terminated, _, _ = labels.unbind(-1)
        output, tokens = network.training_pass(shown, shown_noise, noisy, noise, known, real * s.loop)
        wanted = target(truth, noisy, noise)
        features = network.features(tokens)
        between = network.between(features[:, :-1], features[:, 1:])
        unknown = (real * led * (1 - given))[:, 1:]
        losses = {
            "denoising": mean((output - wanted).square().mean((-1, -2)), real * led),
            "inverse": mean((between - actions[:, 1:]).square().mean(-1), unknown),
        }
        said = network.read(features)
        ahead = self._value_target(said.value, progress, ends, terminated)
        follows = real * torch.maximum(ends, F.pad(real[:, 1:], (0, 1)))
        before = actions * given[..., None]
        if alone.shape[1]:
            first = self._first(shown, shown_noise, text, alone)
            features = torch.cat([features, first], 1)
            said = Reading(*(torch.cat(both, 1) for both in zip(said, network.read(first), strict=True)))
            ahead, follows, labels, expert, estimates = (
                torch.cat([x, taken(x, alone)], 1) for x in (ahead, follows, labels, expert, estimates)
            )
            # Nothing led to them that could be told.
            led, before = (F.pad(x, (0, 0) * (x.ndim - 2) + (0, alone.shape[1])) for x in (led, before))
        losses |= self._heads(features, said, ahead, follows, led, before, labels, estimates, expert)
        since = network.config.window + 1
        if network.config.memory_beginning and truth.shape[1] > since:
            remembered = network.recollect(tokens[:, since:])
            losses["beginning"] = mean((remembered - truth[:, :1]).square().mean((-1, -2)), real[:, since:])
        loss = (
            losses["denoising"] + s.estimates * losses["state"] + s.reward * losses["reward"]
            + s.success * losses["success"] + s.termination * losses["termination"] + s.value * losses["value"]
            + s.prior * losses["prior"] + losses["prior10"] + s.inverse * losses["inverse"]
            + s.beginning * losses.get("beginning", 0.0)
        )  # fmt: skip
        return {"loss": loss, **losses}

    def _heads(
        self,
        features: Tensor,
        said: Reading,
        ahead: Tensor,
        follows: Tensor,
        led: Tensor,
        before: Tensor,
        labels: Tensor,
        estimates: Tensor,
        expert: Tensor,
    ) -> dict[str, Tensor]:
        """The heads' losses on frames (B, T): what the value should be, ``ahead``, where something ``follows``; whether
        something ``led`` to a frame, and the action before it (B, T, A) as it is told; the others as above."""
        s, real = self.settings, labels[..., 0]
        _, _, reward, success, _, _, terminated, has_expert, few = labels.unbind(-1)
        gap = ahead - said.value
        lean = torch.where(gap > 0, s.expectile, 1 - s.expectile)
        turns = (expert - before).abs().amax(-1).div(TURN).clamp_max(1)
        imitated = real * has_expert * (s.steady + (1 - s.steady) * turns)
        proposed = self.network.prior(features).float()
        few_proposed = self.network.prior10(features.detach()).float()
        weighed = real * led * (1 + (self.solved - 1) * success)
        return {
            "state": mean((said.estimates - estimates).square().sum(-1) / max(1, estimates.shape[-1]), real),
            "reward": mean((said.reward - reward).square(), real * led),
            "success": mean(cross_entropy(said.success, success, reduction="none"), weighed),
            "termination": mean(cross_entropy(said.termination, terminated, reduction="none"), real * led),
            "value": mean(lean * gap.square(), follows),
            "prior": mean((proposed - expert).square().mean(-1), imitated),
            "prior10": mean((few_proposed - expert).square().mean(-1), imitated * few),
        }

    def _first(self, shown: Tensor, noise: Tensor, text: Tensor, alone: Tensor) -> Tensor:
        """Features (B, K, features) of frames to which nothing led. What a sub-goal means has to be known from it and
        the picture alone: within an episode, the hand's motion gives it away."""
        following = torch.cat([text[:, 1:], text[:, -1:]], 1).expand(-1, shown.shape[1], -1)
        frame, level, told = (taken(x, alone).flatten(0, 1)[:, None] for x in (shown, noise, following))
        nothing = shown.new_zeros(len(frame), 1, self.network.config.action_dim)
        known = Condition(nothing, nothing[..., 0], nothing, told)
        _, tokens = self.network.training_pass(frame, level, frame, level, known)
        return self.network.features(tokens).unflatten(0, alone.shape)[:, :, 0]

    def _value_target(self, value: Tensor, progress: Tensor, ends: Tensor, terminated: Tensor) -> Tensor:
        """One decision ahead. Nothing follows the end of a task; where only the data ends, it goes on from itself, for
        nothing is known of what follows."""
        value = value.detach().clamp(-1, 1)
        ahead = torch.where(ends > 0, value, F.pad(value[:, 1:], (0, 1))) * (1 - terminated)
        earned = torch.where(ends > 0, progress, F.pad(progress[:, 1:], (0, 1))) * (1 - terminated)
        return (1 - self.settings.gamma) * earned + self.settings.gamma * ahead


def mean(errors: Tensor, weight: Tensor) -> Tensor:
    """Of the errors that count."""
    return (errors * weight).sum() / weight.sum().clamp_min(1)


def taken(x: Tensor, frames: Tensor) -> Tensor:
    """Of x (B, T, ...) the frames (B, K)."""
    return x.gather(1, frames.view(*frames.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:]))


class VideoStage:
    """Trains ``objective.network`` on windows of latents."""

    name = "video"

    def __init__(
        self, data: TrainingData, objective: VideoObjective, text: Tensor, settings: VideoSettings, fast: bool = False
    ) -> None:
        """``text`` (texts, E): features of the data's texts, in the order that ``data.text`` counts in; ``fast``: leave
        out pairs of tokens that don't see each other, and compile and capture the dreams, on a CUDA device. Raises
        UserError: no episode has two frames."""
        assert data.latents is not None
        self.data, self.objective, self.text, self.settings = data, objective, text, settings
        if fast:
            objective.network.prepare(settings.frames)
        self._dreams = Dreams(objective.network, fast, settings.loop)
        config = objective.network.config
        mean_, std = (data.estimates.new_tensor(x) for x in (config.estimate_mean, config.estimate_std))
        self.units = (data.estimates - mean_) / std
        reward = data.reward / config.reward_scale
        solved = data.success[(data.labelled > 0) & ~data.held_out]
        rareness = max(1.0, len(solved) / max(1.0, float(solved.sum())) - 1)
        objective.solved = rareness**settings.success_rarity
        share = settings.success_share if bool(data.success.any()) else 0.0
        progress = share * data.success + (1 - share) * reward
        number = torch.arange(len(data.task), device=data.task.device)
        ends = number == data.last
        facts = (data.labelled, reward, data.success, progress, ends, data.terminated, data.has_expert, data.few)
        self.facts = torch.stack([fact.float() for fact in facts], -1)
        self.place = place_of(data)
        # A window may begin anywhere but where less than half of it would be left; a shorter episode is seen whole.
        length = data.last - data.first
        needed = torch.where(length < settings.frames, length, settings.frames // 2)
        self.starts = data.indices(~data.held_out & (number + needed <= data.last) & (length > 0))
        if not len(self.starts):
            raise UserError("data has no episode of two frames or more; collect longer episodes")
        if settings.rarity:
            self.starts = self.starts.repeat_interleave(shares(data, settings.frames, settings.rarity)[self.starts])

    def batch(self, step: int, size: int, generator: torch.Generator, average: nn.Module) -> dict[str, Tensor]:
        s, data, network = self.settings, self.data, self.objective.network
        assert data.latents is not None
        device = data.latents.device

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator, device=device)

        start = pick(self.starts, size, generator)
        index = start[:, None] + torch.arange(s.frames, device=device)
        real = (index <= data.last[start][:, None]).float()
        index = torch.minimum(index, data.last[start][:, None])
        truth = network.patches(data.latents[index].float())
        actions = data.action[index]
        # From some frame on the actions are not known: a video that goes on from what was seen.
        since = torch.where(uniform(size, 1) < s.drop_action, uniform(size, 1) * s.frames, s.frames)
        given = (torch.arange(s.frames, device=device) < since).float()
        # Nothing led to an episode's first frame; what led to a window's first one is sometimes not known.
        given[:, 0] *= data.labelled[start].float() * (uniform(size) < 0.5)
        place = self.place[index] - (1 - given[..., None]) * actions
        # Without actions a text has to say what comes, and what others did says nothing of how it is reached.
        told = (uniform(size, 1) >= s.drop_text) & (data.by_expert[start][:, None] | (given > 0))
        text = self.text[data.text[index]] * told[..., None]
        shown = truth
        if step >= s.dream_from and float(torch.rand(1, generator=torch.Generator().manual_seed(step))) < s.dream:
            kept = (uniform(size) * s.shown).long() + 1
            drawn = torch.randn(truth.shape, generator=generator, device=device)
            with training_precision(device):
                shown = self._dreams(truth, kept, actions, given, place, text, drawn)
        shown_noise = s.context_noise * uniform(size, s.frames).square()
        level = torch.randn(size, s.frames, generator=generator, device=device) * s.log_std + s.log_mean
        level = level.exp().clamp(0.005, 80)

        def noised(frames: Tensor, levels: Tensor) -> Tensor:
            return frames + levels[..., None, None] * torch.randn(frames.shape, generator=generator, device=device)

        return {
            "truth": truth,
            "shown": noised(shown, shown_noise),
            "shown_noise": shown_noise,
            "noisy": noised(truth, level),
            "noise": level,
            "actions": actions,
            "given": given,
            "place": place,
            "text": text,
            "labels": torch.cat([real[..., None], self.facts[index]], -1),
            "estimates": self.units[index],
            "expert": data.expert[index],
            "alone": (uniform(size, s.alone) * s.frames).long(),
        }


def place_of(data: TrainingData) -> Tensor:
    """(F, A) the sum of the actions since the episode of a frame began."""
    sums = data.action.double().cumsum(0)
    return (sums - sums[data.first]).float()
