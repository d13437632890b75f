"""RLBench tasks, seen through a camera and acted on once per decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from sfvgen_plan.cameras import cameras_of, frame_shape
from sfvgen_plan.data.rlbench_state import estimates_of, pack_state
from sfvgen_plan.data.seeds import FIRST_TRAINING_SEED
from sfvgen_plan.envs.decisions import check_at_least_one
from sfvgen_plan.envs.rlbench.actions import BOX, command
from sfvgen_plan.envs.rlbench.diagnosis import explain_launch
from sfvgen_plan.envs.rlbench.family import FAMILY, MADE, NEEDS_FRESH_PROCESS
from sfvgen_plan.envs.rlbench.process import RefusedError, SimulatorDiedError, WorkerProcess
from sfvgen_plan.envs.rlbench.settings import WorkerSettings
from sfvgen_plan.envs.rlbench.worker import CAMERAS
from sfvgen_plan.errors import SimulatorError, UserError, unknown_name

DRAWN_VARIATIONS = 5
"""A seed draws one of a task's first so many variations, which are those with recorded episodes."""


class RLBenchEnv(gym.Env[np.ndarray, np.ndarray]):
    """One RLBench task: a decision is one action, executed until the arm has arrived, and leads to one video frame.

    Observation: (H, size, 3) uint8 RGB, the cameras' pictures one above the other. Action: (7,) in [-1, 1]:
    displacement of the gripper's tip along the world's
    axes (5 cm at 1), rotation vector about them (0.25 rad at 1), gripper (above 0 open, else closed). Reward: 1 after a
    decision that leaves the task solved, else 0. Success does not terminate; the task's own fail condition does, and
    steps after that change nothing. Truncates after ``max_decisions``.

    RLBench runs in a process of its own, started by the first reset. When that process dies or hangs,
    ``SimulatorError`` is raised, and the next reset starts another one.

    ``info``: ``success``, ``success_latched`` (also as ``is_success``), ``state`` (143,) float64 and ``estimates``
    (10,) float32 (see ``sfvgen_plan.data.rlbench_state``), ``instruction`` (RLBench's sentence for this episode) and
    ``reward_terms`` (empty), as in the other environments; and ``descriptions`` (all its sentences), ``variation``,
    ``views`` (frames of the further cameras), ``clipped`` (the motion was cut at the workspace's border), ``clips`` (so
    far).

    The same seed gives the same scene bit for bit, whatever was played before in the process.

    Args:
        task: an RLBench task, with or without the "rlbench/" prefix.
        size: height and width of the pictures in pixels.
        camera: front, wrist, overhead, left_shoulder or right_shoulder, or several, such as "front+wrist".
        repeat: 1; a decision takes as many simulator steps as it needs.
        max_decisions: decisions until truncation.
        render_mode: "rgb_array" or None.
        pixels: False leaves the observation black and needs no display, for agents that only read the state.
        variation: of the task; None: the seed draws one of the first five.
        views: further cameras.
        worker: how to start RLBench, and how long to wait for it.

    Raises:
        UserError: unknown task or camera, a number below 1; at reset: no RLBench, CoppeliaSim or display, or a
            variation that the task does not have.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's own convention
    made = False
    """Whether it plays the tasks that are made at run time instead of RLBench's."""

    def __init__(
        self,
        task: str,
        size: int = 128,
        camera: str = FAMILY.camera,
        repeat: int = 1,
        max_decisions: int = 100,
        render_mode: str | None = "rgb_array",
        pixels: bool = True,
        *,
        variation: int | None = None,
        views: Sequence[str] = (),
        worker: WorkerSettings | None = None,
    ) -> None:
        check_at_least_one(size=size, repeat=repeat, max_decisions=max_decisions)
        filmed = cameras_of(camera)
        for name in (*filmed, *views):
            if name not in CAMERAS:
                raise unknown_name("camera", name, CAMERAS)
        self.task = FAMILY.canonical(task)
        plain = self.task.removeprefix(FAMILY.prefix)
        if (plain in MADE) != self.made:
            raise UserError(f"task={task!r} is not of this class; make it with gym.make('sfvgen/RLBench-v0', task=...)")
        if repeat > 1:
            raise UserError(f"repeat={repeat} has no meaning for RLBench; give 1")
        self.size, self.camera, self.repeat, self.max_decisions = size, camera, repeat, max_decisions
        self.render_mode, self.pixels, self.variation = render_mode, pixels, variation
        self.observation_space = gym.spaces.Box(0, 255, frame_shape(size, camera), np.uint8)
        self.action_space = BOX
        self.settings = worker or WorkerSettings()
        self._cameras = list(dict.fromkeys([*filmed, *views])) if pixels else []
        self._launch = {"task": plain, "cameras": self._cameras, "size": size}
        self._fresh = plain in NEEDS_FRESH_PROCESS
        self._process: WorkerProcess | None = None
        self._variations = 0
        self._over = False
        self._begin({}, 0)

    @property
    def state(self) -> np.ndarray:
        """``sfvgen_plan.data.rlbench_state`` of the current moment: (143,) float64, a copy."""
        return self._state.copy()

    @property
    def estimates(self) -> np.ndarray:
        """True values of ``ESTIMATE_NAMES``: (10,) float32."""
        return estimates_of(self._state)

    @property
    def task_low_dim_state(self) -> np.ndarray:
        """RLBench's own task state, of which ``state`` has the first 128 numbers; a copy."""
        return self._low_dim.copy()

    @property
    def decisions(self) -> int:
        """Decisions taken since reset."""
        return self._decisions

    @property
    def worker_pid(self) -> int | None:
        """Process number of the running simulator."""
        return self._process.pid if self._process is not None and self._process.alive else None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode, and the simulator if it does not run. ``options={"variation": v}`` chooses a variation.

        Without a seed, the next scene of the random sequence that the last seed began, which is never one that is kept
        for evaluation.

        Raises:
            UserError: the simulator can't be started as things are; no such variation.
            SimulatorError: it died, hung, or could not build the scene.
        """
        super().reset(seed=seed)
        scene = int(self.np_random.integers(FIRST_TRAINING_SEED, 2**31)) if seed is None else seed
        self._build(scene, (options or {}).get("variation", self.variation), "reset")
        return self._observe(), self._info()

    def _arrange(self, seed: int) -> dict[str, Any]:
        """What the worker is told of scene ``seed`` beside the seed itself."""
        return {}

    def _judge(self, answer: dict[str, Any]) -> tuple[float, bool]:
        """Reward of what was executed, and whether the task is solved now."""
        return answer["reward"], answer["success"]

    def demonstrate(
        self, seed: int, variation: int | None = None
    ) -> tuple[np.ndarray, dict[str, Any], np.ndarray, np.ndarray] | None:
        """Reset to scene ``seed`` and have RLBench solve it first.

        Returns:
            Observation and info of the reset scene, and the demonstration's tip poses (T, 7) and gripper (T,), one row
            per 0.05 s; None when RLBench found no solution, which happens for a few seeds of some tasks.
        """
        super().reset(seed=seed)
        answer = self._build(seed, self.variation if variation is None else variation, "demonstrate")
        if not answer["demo_poses"]:
            return None
        return self._observe(), self._info(), np.array(answer["demo_poses"]), np.array(answer["demo_open"])

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Execute one decision; numbers outside the action space are clipped.

        Raises:
            UserError: wrong shape, or a number that is not finite.
            SimulatorError: the simulator died or hung. Reset starts it again.
        """
        numbers, clipped = command(action, self._state[:3])
        if self._process is None or not self._process.alive:
            raise SimulatorError("no simulator is running; call reset first")
        reward, self._success, self._clipped = 0.0, False, clipped and not self._over
        if not self._over:
            answer = self._ask("step", self.settings.step_seconds, action=numbers)
            self._see(answer)
            reward, self._success = self._judge(answer)
            self._over = answer["terminate"] and not answer["success"]
        self._latched |= self._success
        self._clips += self._clipped
        self._decisions += 1
        truncated = self._decisions >= self.max_decisions
        return self._observe(), reward, self._over, truncated, self._info()

    def render(self) -> np.ndarray | None:
        """The current frame (H, size, 3) uint8; None without a render mode; black without pixels."""
        return self._observe() if self.render_mode == "rgb_array" else None

    def __reduce__(self) -> Any:
        """Raises: UserError."""
        raise UserError(
            f"task={self.task!r}: its simulator, another process, can't be copied; make another environment and "
            "reset it with the same seed"
        )

    def close(self) -> None:
        """End the simulator. Closing twice is fine."""
        if self._process is not None:
            self._process.close(self.settings.close_seconds)
            self._process = None

    def _build(self, seed: int, variation: int | None, call: str) -> dict[str, Any]:
        """Have the worker make the scene; its answer."""
        if self._fresh:
            self.close()
        if self._process is None or not self._process.alive:
            self._process = self._start()
        if variation is None:
            variation = int(np.random.default_rng(seed).integers(min(self._variations, DRAWN_VARIATIONS)))
        elif not isinstance(variation, (int, np.integer)) or not 0 <= variation < self._variations:
            raise UserError(f"variation={variation!r} is out of range; {self.task} has 0 to {self._variations - 1}")
        scene = {"seed": seed % 2**32, "variation": int(variation), **self._arrange(seed)}
        answer = {}
        if call == "demonstrate":
            answer = self._ask("demonstrate", self.settings.demonstration_seconds, **scene)
            if self._fresh:
                self.close()
                self._process = self._start()
        if call == "reset" or self._fresh:
            answer |= self._ask("reset", self.settings.reset_seconds, **scene)
        self._begin(answer, int(variation))
        return answer

    def _start(self) -> WorkerProcess:
        self.settings.check(images=bool(self._cameras))
        process = WorkerProcess(self.settings, (len(self._cameras), self.size, self.size, 3))
        try:
            answer = process.call("launch", self.settings.launch_seconds, **self._launch)
        except (RefusedError, SimulatorDiedError) as error:
            process.kill()
            raise explain_launch(error, self.settings, self.task, bool(self._cameras)) from error
        self._variations = int(answer["variation_count"])
        return process

    def _begin(self, answer: dict[str, Any], variation: int) -> None:
        """Forget the last episode."""
        self._decisions, self._clips = 0, 0
        self._latched: bool = False
        self._success = self._over = self._clipped = False
        self._descriptions: Sequence[str] = answer.get("descriptions", ())
        self.instruction = self._descriptions[0] if self._descriptions else FAMILY.tasks[self.task]
        self._variation_now = variation
        self._frames = np.zeros((len(self._cameras), self.size, self.size, 3), np.uint8)
        self._low_dim = np.zeros(0)
        self._state: np.ndarray = pack_state(np.zeros(7), 0.0, np.zeros(7), self._low_dim)
        if answer:
            self._see(answer)

    def _ask(self, call: str, seconds: float, **arguments: Any) -> dict[str, Any]:
        """What the simulator answers. One that can't is ended: nobody knows what state it is in."""
        assert self._process is not None
        try:
            return self._process.call(call, seconds, **arguments)
        except RefusedError as error:
            self._process.kill()
            raise SimulatorError(f"RLBench failed at {call!r} in {self.task}: {error.kind}: {error}") from error

    def _see(self, answer: dict[str, Any]) -> None:
        assert self._process is not None
        self._frames[...] = self._process.frames
        self._low_dim = np.array(answer["low_dim"])
        self._state = pack_state(np.array(answer["pose"]), answer["open"], np.array(answer["joints"]), self._low_dim)

    def _observe(self) -> np.ndarray:
        shape = frame_shape(self.size, self.camera)
        return self._frames.reshape(-1, *shape[1:])[: shape[0]].copy() if self._cameras else np.zeros(shape, np.uint8)

    def _info(self) -> dict[str, Any]:
        return {
            "success": self._success,
            "success_latched": self._latched,
            "is_success": self._latched,  # as Stable-Baselines3 calls it
            "state": self.state,
            "estimates": self.estimates,
            "instruction": self.instruction,
            "reward_terms": {},
            "descriptions": tuple(self._descriptions),
            "variation": self._variation_now,
            "views": {
                name: picture.copy()
                for name, picture in zip(self._cameras, self._frames, strict=True)
                if name not in cameras_of(self.camera)
            },
            "clipped": self._clipped,
            "clips": self._clips,
        }
