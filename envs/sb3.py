"""The native vector environment as Stable-Baselines3 wants it, which takes no vector environment of Gymnasium's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv

from sfvgen_plan.envs.vector import ImaginedVectorEnv
from sfvgen_plan.errors import UserError

_LAID_OUT = ("final_obs", "final_info")


class UnwrappedVecEnv(VecEnv):
    """What all environments of Stable-Baselines3 in this package have in common."""

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: Any = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]


def note_end(info: dict[str, Any], terminated: bool, truncated: bool) -> None:
    """Tell in ``info`` what Stable-Baselines3 looks for: whether an episode was cut off, so that values are
    bootstrapped, and at its end whether it was solved, which is logged as ``rollout/success_rate``."""
    info["TimeLimit.truncated"] = bool(truncated and not terminated)
    if terminated or truncated:
        info["is_success"] = bool(info["success_latched"])


class ImaginedVecEnv(UnwrappedVecEnv):
    """A Stable-Baselines3 ``VecEnv`` over an ``ImaginedVectorEnv``: still one pass of the model for all.

    The reward is ``reward_scale * (reward - uncertainty_penalty * uncertainty)``; what the environment gave itself is
    ``info["reward"]``. Where an episode is cut off (``info["TimeLimit.truncated"]``), values are bootstrapped; at its
    end ``info["is_success"]`` says whether it was solved.

    Args:
        env: with ``autoreset_mode`` SAME_STEP.
        reward_scale: Metaworld's rewards go up to 10 a decision, where most algorithms like about 1.
        uncertainty_penalty: in units of reward per unit of disagreement; needs ``futures`` of at least 2.

    Raises:
        UserError: another autoreset mode, or a penalty without futures to disagree.

    Example:
        >>> env = gym.make_vec("sfvgen/Imagined-v0", 8, task="reach-v3", obs_mode="state", autoreset_mode="SameStep")
        >>> SAC("MlpPolicy", ImaginedVecEnv(env.unwrapped, reward_scale=0.1)).learn(10_000)
    """

    def __init__(self, env: ImaginedVectorEnv, reward_scale: float = 1.0, uncertainty_penalty: float = 0.0) -> None:
        if env.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise UserError(
                f"autoreset_mode={env.autoreset_mode.value!r} is not what Stable-Baselines3 expects; make the "
                f"environment with autoreset_mode={AutoresetMode.SAME_STEP.value!r}"
            )
        if uncertainty_penalty and env.batch.futures < 2:
            raise UserError(
                f"uncertainty_penalty={uncertainty_penalty} needs futures that can disagree, and futures="
                f"{env.batch.futures}; give futures of 2 or more"
            )
        self.env = env
        self.reward_scale, self.uncertainty_penalty = reward_scale, uncertainty_penalty
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

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Imagine one decision of every episode; those that end begin anew at once."""
        observations, rewards, terminations, truncations, infos = self.env.step(self._actions)
        dones = terminations | truncations
        rows = _rows(infos)
        for n in np.flatnonzero(dones).tolist():
            self.reset_infos[n], rows[n] = rows[n], _row(infos["final_info"], n)
            rows[n]["terminal_observation"] = infos["final_obs"][n]
        for n, row in enumerate(rows):
            row["reward"] = float(rewards[n])
            note_end(row, terminations[n], truncations[n])
        uncertainty = np.array([row.get("uncertainty", 0.0) for row in rows])
        shaped = self.reward_scale * (rewards - self.uncertainty_penalty * uncertainty)
        return observations, shaped.astype(np.float32), dones, rows

    def close(self) -> None:
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        frames = self.env.render()
        return list(frames) if frames is not None else [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the vector environment, once for each environment asked for."""
        return [getattr(self.env, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the vector environment, which is that of all environments.

        Raises:
            UserError: for some of them only.
        """
        if len(set(self._get_indices(indices))) < self.num_envs:
            raise UserError(f"indices={indices!r}: the environments share their attributes; set {attr_name!r} for all")
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


def _row(infos: dict[str, Any], n: int) -> dict[str, Any]:
    """The info of environment ``n`` alone."""
    return _rows({key: values[n : n + 1] for key, values in infos.items()})[0]
