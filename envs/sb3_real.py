"""Real environments as Stable-Baselines3 wants them: simulated in processes, seen through a checkpoint in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter, methodcaller
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from sfvgen_plan.envs.observation import Observer
from sfvgen_plan.envs.sb3 import UnwrappedVecEnv, note_end
from sfvgen_plan.imagination import Imagination
from sfvgen_plan.pool import Call, Make, open_pool, together
from sfvgen_plan.simulation import as_long


class RealVecEnv(UnwrappedVecEnv):
    """A Stable-Baselines3 ``VecEnv`` over real environments: what ``DummyVecEnv`` is, with several processes.

    Args:
        make: makes one environment, such as a ``functools.partial`` of ``MetaworldEnv``.
        num_envs: how many.
        processes: that simulate and render, at most; 1 is this process alone.
        reward_scale: Metaworld's rewards go up to 10 a decision, where most algorithms like about 1.

    Raises:
        UserError: what ``make`` raises.
    """

    def __init__(self, make: Make, num_envs: int, processes: int = 1, reward_scale: float = 1.0) -> None:
        self._pool = open_pool(make, num_envs, processes=processes)
        self.reward_scale = reward_scale
        try:
            spaces = together(self._pool, {0: attrgetter("observation_space", "action_space")})[0]
        except BaseException:
            self.close()
            raise
        super().__init__(num_envs, *spaces)

    def reset(self) -> np.ndarray:
        given = enumerate(zip(self._seeds, self._options, strict=True))
        calls = {n: methodcaller("reset", seed=seed, options=options or None) for n, (seed, options) in given}
        began = together(self._pool, calls).values()
        self.reset_infos = [info for _, info in began]
        self._reset_seeds()
        self._reset_options()
        return np.stack([observation for observation, _ in began])

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Take one decision of every episode; those that end begin anew at once."""
        taken = together(self._pool, {n: methodcaller("step", action) for n, action in enumerate(self._actions)})
        observations, rewards, terminations, truncations, infos = map(list, zip(*taken.values(), strict=True))
        dones = np.array(terminations) | np.array(truncations)
        for info, terminated, truncated in zip(infos, terminations, truncations, strict=True):
            note_end(info, terminated, truncated)
        again = dict.fromkeys(np.flatnonzero(dones).tolist(), methodcaller("reset"))
        for n, (observation, info) in together(self._pool, again).items():
            infos[n]["terminal_observation"] = observations[n]
            observations[n], self.reset_infos[n] = observation, info
        scaled = self.reward_scale * np.asarray(rewards, np.float64)
        return np.stack(observations), scaled.astype(np.float32), dones, infos

    def close(self) -> None:
        self._pool.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        return self.env_method("render")

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of each environment asked for, or a copy of it."""
        return self._each(attrgetter(attr_name), indices)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        self.env_method("set_wrapper_attr", attr_name, value, indices=indices)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        return self._each(methodcaller(method_name, *method_args, **method_kwargs), indices)

    def _each(self, call: Call, indices: Any) -> list[Any]:
        return list(together(self._pool, dict.fromkeys(self._get_indices(indices), call)).values())


class CheckpointVecEnv(VecEnvWrapper):
    """Environments that show frames, seen through a checkpoint: what a ``CheckpointObservation`` shows of each, for all
    of them in one batch.

    Args:
        venv: its observations are frames (N, H, W, 3) uint8.
        task: the checkpoint's name of what is played in all of them.
        observer: of the checkpoint, in a mode other than pixels.
    """

    def __init__(self, venv: VecEnv, task: str, observer: Observer) -> None:
        super().__init__(venv, observation_space=observer.space)
        self._task, self._observer = task, observer

    def reset(self) -> np.ndarray:
        self._state = self._begun(self.venv.reset())
        return self._observer.of(self._state)

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions
        self.venv.step_async(actions)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """One decision of every episode; ``terminal_observation`` is seen through the checkpoint, too."""
        frames, rewards, dones, infos = self.venv.step_wait()
        ended = np.flatnonzero(dones)
        last = frames.copy()
        for n in ended:
            last[n] = infos[n]["terminal_observation"]
        self._state = self._observer.observe(self._state, last, self._actions)
        seen = self._observer.of(self._state)
        if len(ended):
            for n in ended:
                infos[n]["terminal_observation"] = seen[n].copy()
            begun = self._begun(frames[ended])
            seen[ended] = self._observer.of(begun)
            self._state = self._state.replaced(as_long(ended.tolist(), self._state.seed.device), begun)
        return seen, rewards, dones, infos

    def _begun(self, frames: np.ndarray) -> Imagination:
        return self._observer.begin(frames, [self._task] * len(frames))
