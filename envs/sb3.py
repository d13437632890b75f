"""Environments side by side as Stable-Baselines3 wants them, which takes no vector environment of Gymnasium's."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from sfvgen_plan.envs.observation import Observer
from sfvgen_plan.envs.vector import ImaginedVectorEnv
from sfvgen_plan.errors import UserError
from sfvgen_plan.imagination import Imagination
from sfvgen_plan.simulation import as_long

_LAID_OUT = ("final_obs", "final_info")


class ImaginedVecEnv(VecEnv):
    """A Stable-Baselines3 ``VecEnv`` over an ``ImaginedVectorEnv``: still one pass of the model for all.

    Where an episode is cut off (``info["TimeLimit.truncated"]``), values are bootstrapped.

    Args:
        env: with ``autoreset_mode`` SAME_STEP.
        reward_scale: Metaworld's rewards go up to 10 a decision, where most algorithms like about 1.

    Raises:
        UserError: another autoreset mode.

    Example:
        >>> env = gym.make_vec("sfvgen/Imagined-v0", 8, task="reach-v3", obs_mode="state", autoreset_mode="SameStep")
        >>> SAC("MlpPolicy", ImaginedVecEnv(env.unwrapped, reward_scale=0.1)).learn(10_000)
    """

    def __init__(self, env: ImaginedVectorEnv, reward_scale: float = 1.0) -> None:
        if env.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise UserError(
                f"autoreset_mode={env.autoreset_mode.value!r} is not what Stable-Baselines3 expects; make the "
                f"environment with autoreset_mode={AutoresetMode.SAME_STEP.value!r}"
            )
        self.env, self.reward_scale = env, reward_scale
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> np.ndarray:
        options = self._options[0]
        if any(other is not options and other != options for other in self._options):
            raise UserError("options differ between environments; give all the same")
        observations, infos = self.env.reset(seed=list(self._seeds), options=options or None)
        self.reset_infos = _rows(infos)
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Imagine one decision of every episode; those that end begin anew at once."""
        observations, rewards, terminations, truncations, infos = self.env.step(self._actions)
        dones = terminations | truncations
        rows = _rows(infos)
        for n in np.flatnonzero(dones).tolist():
            final = {key: values[n : n + 1] for key, values in infos["final_info"].items()}
            self.reset_infos[n], rows[n] = rows[n], _rows(final)[0]
            rows[n]["terminal_observation"] = infos["final_obs"][n]
        for n, row in enumerate(rows):
            row["TimeLimit.truncated"] = bool(truncations[n] and not terminations[n])
        return observations, (self.reward_scale * rewards).astype(np.float32), dones, rows

    def close(self) -> None:
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        frames = self.env.render()
        return list(frames) if frames is not None else [None] * self.num_envs

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: Any = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the vector environment, once for each environment asked for."""
        return [getattr(self.env, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the vector environment, which is that of all environments."""
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of the vector environment once. What it returns for each environment is dealt out; anything
        else is repeated."""
        result = getattr(self.env, method_name)(*method_args, **method_kwargs)
        dealt = isinstance(result, (tuple, list)) and len(result) == self.num_envs
        return [result[n] if dealt else result for n in self._get_indices(indices)]


def _rows(infos: dict[str, Any]) -> list[dict[str, Any]]:
    """The infos of all environments, in Python's own numbers."""
    columns = {key: values for key, values in infos.items() if f"_{key}" in infos and key not in _LAID_OUT}
    listed = [values.tolist() if values.ndim == 1 else list(values) for values in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*listed, strict=True)]


class CheckpointVecEnv(VecEnvWrapper):
    """Real environments, whose observations are frames (N, H, W, 3) uint8, of a task by the checkpoint's name of it,
    seen through an observer of the checkpoint: what a ``CheckpointObservation`` shows of each, for all of them in one
    batch."""

    def __init__(self, venv: VecEnv, task: str, observer: Observer, reward_scale: float = 1.0) -> None:
        super().__init__(venv, observation_space=observer.space)
        self._task, self._observer, self._scale = task, observer, reward_scale

    def reset(self) -> np.ndarray:
        frames: Any = self.venv.reset()
        if self._observer.obs_mode == "pixels":
            return frames
        self._state = self._begun(frames, range(len(frames)))
        return self._observer.of(self._state)

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions
        self.venv.step_async(actions)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """One decision of every episode; ``terminal_observation`` is seen through the checkpoint, too."""
        frames, rewards, dones, infos = self.venv.step_wait()
        assert isinstance(frames, np.ndarray)
        ended = np.flatnonzero(dones)
        rewards = (self._scale * rewards).astype(np.float32)
        for n in ended:
            infos[n]["is_success"] = bool(infos[n]["success_latched"])
        if self._observer.obs_mode == "pixels":
            return frames, rewards, dones, infos
        last = frames.copy()
        for n in ended:
            last[n] = infos[n]["terminal_observation"]
        self._state = self._observer.observe(self._state, last, self._actions)
        seen = self._observer.of(self._state)
        if len(ended):
            for n in ended:
                infos[n]["terminal_observation"] = seen[n].copy()
            begun = self._begun(frames[ended], ended.tolist())
            seen[ended] = self._observer.of(begun)
            self._state = self._state.replaced(as_long(ended.tolist(), self._state.seed.device), begun)
        return seen, rewards, dones, infos

    def _begun(self, frames: np.ndarray, which: Sequence[int]) -> Imagination:
        """Episodes that begin with ``frames`` in the environments of these numbers."""
        about = [str(self.venv.reset_infos[n].get("instruction", "")) for n in which]
        return self._observer.begin(frames, [self._task] * len(frames), about)
