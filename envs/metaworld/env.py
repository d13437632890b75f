"""Metaworld tasks, seen through a camera and acted on once per decision."""

from functools import partial
from typing import Any

import numpy as np

from sfvgen_plan.envs.metaworld.family import FAMILY
from sfvgen_plan.envs.metaworld.snapshots import RawSnapshot, capture, restore
from sfvgen_plan.envs.rendering import import_mujoco
from sfvgen_plan.envs.sawyer import SawyerEnv

_UNLIMITED = 2**31 - 1


class MetaworldEnv(SawyerEnv):
    """One Metaworld v3 task; see ``SawyerEnv``. ``info["state"]`` is Metaworld's observation with the goal visible.
    Metaworld ignores reset seeds; here every seed has another goal. ``camera``: topview, corner, corner2, corner3,
    corner4, behindGripper or gripperPOV. Raises UserError: unknown task or camera, a number below 1, no OpenGL library.
    """

    def __init__(
        self, task: str, camera: str = FAMILY.camera, repeat: int = 5, max_decisions: int = 100, **frames: Any
    ) -> None:
        name = FAMILY.canonical(task)
        self.instruction = FAMILY.tasks[name]
        make = partial(_make_raw, name)
        super().__init__(name, make, camera=camera, repeat=repeat, max_decisions=max_decisions, **frames)
        self.raw = self._simulation
        self._pristine = capture(self.raw)

    def _build(self, scene: int, options: dict[str, Any]) -> None:
        self._state = self._observed = _reset_raw(self.raw, self._pristine, scene)

    def _advance(self, action: np.ndarray, last: bool) -> tuple[float, bool]:
        state, reward, _, _, info = self.raw.step(action)
        self._observed = np.asarray(state)
        return float(reward), bool(info["success"])

    def _numbers(self) -> np.ndarray:
        return self._observed

    def _capture(self) -> RawSnapshot:
        return capture(self.raw)

    def _recall(self, captured: RawSnapshot) -> None:
        restore(self.raw, captured)


def _make_raw(task: str) -> Any:
    """Metaworld's own environment with the goal in its observation and seedable scenes."""
    import_mujoco()
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS  # imports MuJoCo: only after its OpenGL backend is settled

    raw = ALL_V3_ENVIRONMENTS[task]()
    raw._partially_observable = False
    raw._set_task_called = True
    raw.seeded_rand_vec = True
    raw.max_path_length = _UNLIMITED
    # Cached by the constructor while the goal was still hidden; its bounds would clip the goal to zero.
    vars(raw).pop("sawyer_observation_space", None)
    return raw


def _reset_raw(raw: Any, pristine: RawSnapshot, seed: int) -> np.ndarray:
    """Build scene ``seed`` and return its state (39,).

    A first pass draws the scene, a second builds it with that draw frozen, as Metaworld's benchmarks do: the layout is
    written into the model only after the hand was simulated, so a single pass would leave the objects where the last
    scene had them. Starting from ``pristine`` makes the result independent of what was played before.
    """
    import mujoco  # what made ``raw`` has imported it already

    restore(raw, pristine)
    raw.seed(seed)
    raw._freeze_rand_vec = False
    raw.reset_model()
    raw._freeze_rand_vec = True
    mujoco.mj_resetData(raw.model, raw.data)
    raw.reset_model()
    mujoco.mj_forward(raw.model, raw.data)
    raw.curr_path_length = 0
    current = raw._get_curr_obs_combined_no_goal()
    raw._prev_obs = current
    return np.concatenate([current, current, raw._get_pos_goal()])
