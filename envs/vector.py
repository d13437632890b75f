"""Imagined tasks as a native vector environment: one pass of the model a step for all episodes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from sfvgen_plan.envs.decisions import check_at_least_one, checked_actions, checked_frames, checked_seed
from sfvgen_plan.envs.observation import Observer, load_on
from sfvgen_plan.envs.states import Episodes, ImaginedState, Seen
from sfvgen_plan.errors import UserError, unknown_name
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.simulation import Outcome, as_long

LARGEST_SCENE = 2**63


class ImaginedVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """``num_envs`` imagined episodes of one task; what ``gym.make_vec("sfvgen/Imagined-v0", ...)`` makes.

    Equal to as many ``ImaginedEnv`` in a ``gymnasium.vector.SyncVectorEnv`` (in float32 to 1e-4: a batch rounds
    differently), info keys and masks included, but that a refused argument or action is a ``UserError``.

    Args:
        num_envs: N, at least 1.
        task: a task that the checkpoint lists, with or without its family's prefix, such as "metaworld/".
        checkpoint: folder, name in the package, or a loaded checkpoint; None is the bundled one.
        autoreset_mode: of ``gymnasium.vector.AutoresetMode``: NEXT_STEP, SAME_STEP or DISABLED, or its value.
        render_mode: "rgb_array" or None.
        max_episode_steps: Gymnasium's own limit, beside ``max_decisions``.
        memory: episodes remember what they show; None: where the checkpoint has memory layers.
        sampler_steps: denoising steps per decision.
        max_decisions: decisions until truncation, the horizon.
        device: a torch device; "auto" is the GPU if there is one. A loaded checkpoint stays where it is.
        obs_mode: "pixels", "latent" or "state", see ``sfvgen_plan.envs.observation``.
        exact: compute in float32 even where bfloat16 is faster.
        compiled: compile the step on a GPU; None: do.

    Raises:
        UserError: a task that is not in the checkpoint, a missing or damaged checkpoint, an unusable device, a number
            below 1, an unknown mode, ``memory=True`` for a checkpoint without memory layers.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 16}  # noqa: RUF012 - Gymnasium's own convention

    def __init__(
        self,
        num_envs: int,
        task: str,
        checkpoint: str | Path | Checkpoint | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = "rgb_array",
        max_episode_steps: int | None = None,
        *,
        memory: bool | None = None,
        sampler_steps: int = 1,
        max_decisions: int = 100,
        device: str = "auto",
        obs_mode: str = "pixels",
        exact: bool = False,
        compiled: bool | None = None,
    ) -> None:
        limit = {} if max_episode_steps is None else {"max_episode_steps": max_episode_steps}
        check_at_least_one(num_envs=num_envs, **limit, max_decisions=max_decisions, sampler_steps=sampler_steps)
        for name, given in (("memory", memory), ("compiled", compiled)):
            if given is not None and not isinstance(given, bool):
                raise UserError(f"{name}={given!r} is neither True nor False; give one of them, or leave it out")
        if not isinstance(task, str):
            raise UserError(f"task={task!r} is no name; give one that the checkpoint lists")
        self.autoreset_mode = _mode(autoreset_mode)
        self.checkpoint = load_on(checkpoint, device)
        card = self.checkpoint.card
        self.task = task if task in card.tasks else task.rpartition("/")[2]
        self.checkpoint.task_index(self.task)
        self.instruction = card.tasks[self.task]
        self.simulator = self.checkpoint.simulator(sampler_steps, memory, exact, compiled=compiled is not False)
        self.max_decisions = min([max_decisions, *limit.values()])
        self.observer = Observer(self.simulator, obs_mode)
        self.actions = self.checkpoint.actions
        self.num_envs, self.render_mode = num_envs, render_mode
        fps = max(1, card.raw_steps_per_second // card.repeat)
        self.metadata = {**self.metadata, "render_fps": fps, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = self.observer.space
        self.single_action_space = self.actions.space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.generators: list[np.random.Generator | None] = [None] * num_envs
        self._seeds: list[int] = [-1] * num_envs
        self._episodes: Episodes | None = None
        self._ended = np.zeros(num_envs, np.bool_)
        self._observation = np.zeros(0)

    @property  # type: ignore[misc]  # Gymnasium's own vector environments return one for each, too
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The random generator of each environment."""
        return tuple(self._generator(n) for n in range(self.num_envs))

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seed of each environment's generator, -1 where it is unknown."""
        return tuple(self._seeds)

    @property
    def decisions(self) -> np.ndarray:
        """(N,) decisions taken in each episode since its reset."""
        return np.zeros(self.num_envs, np.int64) if self._episodes is None else self._episodes.decisions.copy()

    @property
    def episodes(self) -> Episodes:
        """Where the episodes stand, a value that steps don't change.

        Raises:
            gymnasium.error.ResetNeeded: none was started.
        """
        if self._episodes is None:
            raise gym.error.ResetNeeded("no episode yet; call reset first")
        return self._episodes

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start episodes in all environments, or in those that ``options["reset_mask"]`` names.

        Args:
            seed: one for each; a number s stands for s, s + 1, ...; None goes on with each one's random sequence.
            options: ``reset_mask`` (N,) bool array; ``frames`` as in ``ImaginedEnv.reset``, for all alike or
                (M, P, size, size, 3) for the M that are reset.

        Raises:
            UserError: seeds that are no whole numbers from 0, or another number of them, an unknown option, a mask or
                frames of another shape or type.
        """
        wanted = dict(options or {})
        mask = self._checked_mask(wanted.pop("reset_mask", None))
        index = np.flatnonzero(mask)
        frames = checked_frames(wanted, self.checkpoint.frame_shape, len(index))
        seeds = self._checked_seeds(seed)
        if self._episodes is None and not mask.all():
            raise gym.error.ResetNeeded("no episode yet; call reset without reset_mask first")
        begun, seen = self._begun([self._scene(n, seeds[n]) for n in index.tolist()], frames)
        self._episodes = begun if self._episodes is None else self._episodes.replaced(index, begun)
        self._ended[mask] = False
        observation = seen.observation if mask.all() else self._look(self._episodes).observation
        return self._shown(observation), _masked(seen.info, mask)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Imagine one decision in every environment, from N actions; values beyond their bounds are clipped.

        Raises:
            UserError: another shape, a number that is not finite, or none of the discrete actions.
            gymnasium.error.ResetNeeded: no episode yet, or with autoreset DISABLED one that has ended.
        """
        if self.autoreset_mode is AutoresetMode.DISABLED and self._ended.any():
            raise gym.error.ResetNeeded(
                f"episodes of environments {np.flatnonzero(self._ended).tolist()} have ended; "
                'call reset(options={"reset_mask": ...}) first'
            )
        resetting = self._ended & (self.autoreset_mode is AutoresetMode.NEXT_STEP)
        return self.moved(checked_actions(actions, self.actions, self.num_envs, resetting), resetting)

    def moved(
        self, actions: np.ndarray, resetting: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """What ``step`` returns for vectors (N, A) in [-1, 1]; environments in the mask ``resetting`` begin anew."""
        episodes, everybody = self.episodes, np.ones(self.num_envs, np.bool_)
        resetting = ~everybody if resetting is None else resetting
        if resetting.all():
            episodes, seen = self._begin(resetting)
        else:
            episodes, seen = self._advanced(episodes, actions)
            if resetting.any():
                episodes = self._put(episodes, seen, resetting)
        rewards = np.where(resetting, 0.0, seen.reward)
        terminations = ~resetting & episodes.over
        truncations = ~resetting & (episodes.decisions >= self.max_decisions)
        over = terminations | truncations
        infos: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP and over.any():
            infos = self._final(seen, over)
            episodes = self._put(episodes, seen, over)
        infos |= _masked(seen.info, everybody)
        self._episodes, self._ended = episodes, over
        return self._shown(seen.observation), rewards, terminations, truncations, infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The current frames (size, size, 3) uint8; None without a render mode."""
        if self.render_mode != "rgb_array":
            return None
        pixels = self.observer.obs_mode == "pixels"  # which are not decoded again
        return tuple(self._observation.copy() if pixels else self.observer.frames(self.episodes.imagination))

    def get_state(self) -> ImaginedState:
        """The exact current moment of all episodes, random states included; steps don't change it."""
        states = tuple(copy.deepcopy(generator.bit_generator.state) for generator in self.np_random)
        return ImaginedState(self.checkpoint.hash, self.task, self._decisive, self.episodes, self._ended.copy(), states)

    def set_state(self, state: ImaginedState | str | Path) -> tuple[np.ndarray, dict[str, Any]]:
        """Return to a state, or to the one in a file; what follows is the same bit for bit.

        Returns:
            Observations and infos of that moment.

        Raises:
            UserError: a state of another checkpoint or task, of other settings that the future depends on, of another
                number of episodes, or a damaged file.
        """
        state = ImaginedState.given(state)
        state.check_fits(self.checkpoint.hash, self.task, self._decisive, self.num_envs)
        self._episodes, self._ended = state.episodes.to(self.simulator.device), state.ended.copy()
        for n, saved in enumerate(state.generators):
            generator = self.generators[n] = np.random.Generator(np.random.PCG64())
            generator.bit_generator.state = copy.deepcopy(dict(saved))
        seen = self._look(self._episodes)
        return self._shown(seen.observation), _masked(seen.info, np.ones(self.num_envs, np.bool_))

    def fork(self, n: int) -> list[ImaginedVectorEnv]:
        """``n`` vector environments that go on from here independently; the model is shared. For all forks in one
        batch, set ``get_state().fork(n)`` in an environment of n times as many.

        Raises:
            UserError: ``n`` below 1.
        """
        check_at_least_one(n=n)
        state, forks = self.get_state(), [copy.copy(self) for _ in range(n)]
        for fork in forks:
            for name in ("action_space", "observation_space", "single_action_space", "single_observation_space"):
                setattr(fork, name, copy.deepcopy(getattr(self, name)))
            fork.generators, fork._seeds = list(self.generators), list(self._seeds)
            fork.set_state(state)
        return forks

    @property
    def _decisive(self) -> dict[str, Any]:
        """Settings that the future of its episodes depends on."""
        own = self.simulator
        return {"sampler_steps": int(own.sampler_steps), "exact": bool(own.exact), "memory": bool(own.memory)}

    def _begun(self, scenes: Sequence[int], frames: np.ndarray | None = None) -> tuple[Episodes, Seen]:
        """Start an episode for every scene number, from the checkpoint's start frames, which the numbers go through in
        turn, or from frames (N, P, size, size, 3) uint8. Raises UserError: neither the checkpoint nor ``frames`` has a
        start frame."""
        tasks = [self.task] * len(scenes)
        texts = self.observer.texts(tasks, [0 if frames is None else frames.shape[1] - 1] * len(scenes))
        if frames is None:
            starts = self.checkpoint.starts.get(self.task)
            if starts is None or not len(starts):
                raise UserError(
                    f"task={self.task!r} has no start frame in the checkpoint {self.checkpoint.path}; "
                    'give reset(options={"frames": ...})'
                )
            index = as_long([scene % len(starts) for scene in scenes], starts.device)
            state = self.simulator.begin_latents(starts[index][:, None], tasks, scenes, texts)
        else:
            state = self.simulator.begin(frames, tasks, scenes, texts)
        episodes = Episodes(state, np.zeros(len(scenes), np.int64), *np.zeros((2, len(scenes)), np.bool_))
        return episodes, self._look(episodes)

    def _advanced(self, episodes: Episodes, actions: np.ndarray) -> tuple[Episodes, Seen]:
        """Every episode after its action (N, A) in [-1, 1], as ``checked_actions`` gives them: one pass for all."""
        told = self.observer.told(episodes.imagination)
        state, outcome = self.simulator.imagine(told, torch.as_tensor(actions, dtype=torch.float32)[:, None])
        return self._told(Episodes(state, episodes.decisions + 1, episodes.latched, episodes.over), outcome)

    def _look(self, episodes: Episodes) -> Seen:
        """The newest moment again."""
        return self._told(episodes, self.simulator.read(episodes.imagination))[1]

    def _told(self, episodes: Episodes, outcome: Outcome) -> tuple[Episodes, Seen]:
        """Before the first decision nothing counts as success, or as an end."""
        observation, told = self.observer.seen(episodes.imagination, outcome)
        success = (told["success"] > 0.5) & (episodes.decisions > 0)
        latched, over = episodes.latched | success, episodes.over
        if "termination" in told:
            over = (told["termination"] > 0.5) & (episodes.decisions > 0)
        info: dict[str, np.ndarray] = {
            "success": success,
            "success_latched": latched.copy(),
            "is_success": latched.copy(),  # as Stable-Baselines3 calls it
            "success_probability": told["success"],
            "estimates": told["estimates"],
            "value": told["value"],
        }
        after = Episodes(episodes.imagination, episodes.decisions, latched, over)
        return after, Seen(observation, told["reward"], info)

    def _shown(self, observation: np.ndarray) -> np.ndarray:
        """The observation, kept for ``render``."""
        self._observation = observation.copy()
        return observation

    def _generator(self, n: int) -> np.random.Generator:
        found = self.generators[n]
        if found is None:
            found, self._seeds[n] = seeding.np_random()
            self.generators[n] = found
        return found

    def _scene(self, n: int, seed: int | None) -> int:
        if seed is not None:
            self.generators[n], self._seeds[n] = seeding.np_random(seed)
            return seed % LARGEST_SCENE
        return int(self._generator(n).integers(LARGEST_SCENE))

    def _begin(self, mask: np.ndarray) -> tuple[Episodes, Seen]:
        """The next episode of each environment in ``mask``."""
        return self._begun([self._scene(n, None) for n in np.flatnonzero(mask).tolist()])

    def _put(self, episodes: Episodes, seen: Seen, mask: np.ndarray) -> Episodes:
        """``episodes``, with new ones in ``mask``; what is seen of them replaces what was in ``seen``."""
        index = np.flatnonzero(mask)
        begun, first = self._begin(mask)
        seen.put(index, first)
        return episodes.replaced(index, begun)

    def _final(self, seen: Seen, mask: np.ndarray) -> dict[str, Any]:
        """``final_obs`` and ``final_info`` of the episodes that have just ended."""
        observations = np.full(self.num_envs, None, dtype=object)
        for n in np.flatnonzero(mask):
            observations[n] = seen.observation[n].copy()
        ended = {key: values[mask] for key, values in seen.info.items()}
        told = {"final_obs": observations, "final_info": _masked(ended, mask)}
        return told | {f"_{name}": mask.copy() for name in told}

    def _checked_seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if not isinstance(seed, (Sequence, np.ndarray)):
            first = checked_seed(seed)
            return [first + n for n in range(self.num_envs)]
        seeds = [None if one is None else checked_seed(one) for one in seed]
        if len(seeds) != self.num_envs:
            raise UserError(f"seed lists {len(seeds)} seeds for {self.num_envs} environments; give one for each")
        return seeds

    def _checked_mask(self, mask: Any) -> np.ndarray:
        if mask is None:
            return np.ones(self.num_envs, np.bool_)
        fits = isinstance(mask, np.ndarray) and mask.shape == (self.num_envs,) and mask.dtype == np.bool_
        if not fits or not mask.any():
            raise UserError(
                f"reset_mask={mask!r} doesn't fit {self.num_envs} environments; give a bool array of shape "
                f"({self.num_envs},) with at least one True"
            )
        return mask


def _mode(given: AutoresetMode | str) -> AutoresetMode:
    for mode in AutoresetMode:
        if given in (mode, mode.value, mode.name):
            return mode
    raise unknown_name("autoreset_mode", str(given), [mode.value for mode in AutoresetMode])


def _masked(info: dict[str, np.ndarray], mask: np.ndarray) -> dict[str, Any]:
    """Info of the environments in ``mask`` as Gymnasium lays it out: arrays over all of them, and which are filled."""
    laid_out: dict[str, Any] = {}
    for key, values in info.items():
        array = values
        if len(values) < len(mask):
            array = np.zeros((len(mask), *values.shape[1:]), values.dtype)
            array[mask] = values
        laid_out[key], laid_out[f"_{key}"] = array, mask.copy()
    return laid_out
