"""RLBench tasks, seen through a camera and acted on once per decision."""

from typing import Any

import gymnasium as gym
import numpy as np

from sfvgen_plan.cameras import cameras_of
from sfvgen_plan.data.rlbench_state import SOURCE, estimates_of, pack_state
from sfvgen_plan.envs.decisions import DecisionEnv
from sfvgen_plan.envs.rlbench.diagnosis import explain_launch
from sfvgen_plan.envs.rlbench.family import CAMERAS, FAMILY, MADE, MAX_DISPLACEMENT, MAX_TURN, NEEDS_FRESH_PROCESS
from sfvgen_plan.envs.rlbench.process import RefusedError, SimulatorDiedError, WorkerProcess
from sfvgen_plan.envs.rlbench.settings import WorkerSettings
from sfvgen_plan.errors import SimulatorError, UserError, unknown_name

WORKSPACE_LOW = np.array([-0.275, -0.655, 0.752])
WORKSPACE_HIGH = np.array([0.775, 0.655, 1.752])  # RLBench's workspace in metres
BOX = gym.spaces.Box(-1.0, 1.0, (7,), np.float32)  # displacement dx dy dz, rotation vector, gripper (above 0 opens)

DRAWN_VARIATIONS = 5  # a seed draws one of a task's first so many variations, which are those with recorded episodes


class RLBenchEnv(DecisionEnv):
    """One RLBench task: a decision is one action, executed until the arm has arrived.

    Action: (7,) in [-1, 1]: displacement of the gripper's tip along the world's axes (5 cm at 1), rotation vector about
    them (0.25 rad at 1), gripper (above 0 open, else closed); motion is cut at the workspace's border. Reward: 1 after
    a decision that leaves the task solved, else 0. Success does not terminate; the task's own fail condition does, and
    steps after that change nothing.

    RLBench runs in a process of its own, started by the first reset. When that process dies or hangs,
    ``SimulatorError`` is raised, and the next reset starts another one.

    ``info``: ``state`` (143,) and ``estimates`` (13,) are those of ``sfvgen_plan.data.rlbench_state``; besides there
    are ``instruction`` (RLBench's sentence for this episode) and ``variation``.

    Args:
        task: an RLBench task, with or without the "rlbench/" prefix.
        camera: front, wrist, overhead, left_shoulder or right_shoulder, or several, such as "front+wrist".
        repeat: 1; a decision takes as many simulator steps as it needs.
        max_decisions, frames: see ``DecisionEnv``; without pixels no display is needed.
        worker: how to start RLBench, and how long to wait for it.

    Raises:
        UserError: unknown task or camera, a number below 1; at reset: no RLBench, CoppeliaSim or display, or a
            variation that the task does not have.
    """

    made = False
    """Whether it plays the tasks that are made at run time instead of RLBench's."""

    def __init__(
        self,
        task: str,
        camera: str = FAMILY.camera,
        repeat: int = 1,
        max_decisions: int | None = 100,
        *,
        worker: WorkerSettings | None = None,
        **frames: Any,
    ) -> None:
        filmed = cameras_of(camera)
        for name in filmed:
            if name not in CAMERAS:
                raise unknown_name("camera", name, CAMERAS)
        full = FAMILY.canonical(task)
        plain = full.removeprefix(FAMILY.prefix)
        if (plain in MADE) != self.made:
            raise UserError(f"task={task!r} is not of this class; make it with gym.make('sfvgen/RLBench-v0', task=...)")
        super().__init__(full, BOX, SOURCE.raw_steps_per_second, **frames, camera=camera, repeat=repeat,
                         max_decisions=max_decisions)  # fmt: skip
        if repeat > 1:
            raise UserError(f"repeat={repeat} has no meaning for RLBench; give 1")
        self.settings = worker or WorkerSettings()
        self._cameras = filmed if self.pixels else []
        self._launch = {"task": plain, "cameras": self._cameras, "size": self.size}
        self._fresh = plain in NEEDS_FRESH_PROCESS
        self._process: WorkerProcess | None = None
        self._variations = self._variation = 0
        self._over = False
        self.instruction = FAMILY.tasks[full]
        self._low_dim, self._pictures = np.zeros(0), np.zeros(self.observation_space.shape or (), np.uint8)
        self._state: np.ndarray = pack_state(np.zeros(7), 0.0, np.zeros(7), self._low_dim)

    @property
    def state(self) -> np.ndarray:
        """``sfvgen_plan.data.rlbench_state`` of the current moment: (143,) float64, a copy."""
        return self._state.copy()

    @property
    def estimates(self) -> np.ndarray:
        """True values of ``ESTIMATE_NAMES``: (13,) float32."""
        return estimates_of(self._state)

    @property
    def task_low_dim_state(self) -> np.ndarray:
        """RLBench's own task state, of which ``state`` has the first 128 numbers; a copy."""
        return self._low_dim.copy()

    @property
    def worker_pid(self) -> int | None:
        """Process number of the running simulator."""
        return self._process.pid if self._process is not None and self._process.alive else None

    def demonstrate(self, seed: int) -> tuple[np.ndarray, dict[str, Any], np.ndarray, np.ndarray] | None:
        """Reset to scene ``seed`` and have RLBench solve it first.

        Returns:
            Observation and info of the reset scene, and the demonstration's tip poses (T, 7) and gripper (T,), one row
            per 0.05 s; None when RLBench found no solution, which happens for a few seeds of some tasks.
        """
        found: dict[str, Any] = {}
        begun = self.reset(seed=seed, options={"demonstration": found})
        return (*begun, np.array(found["demo_poses"]), np.array(found["demo_open"])) if found["demo_poses"] else None

    def close(self) -> None:
        """End the simulator. Closing twice is fine."""
        if self._process is not None:
            self._process.close(self.settings.close_seconds)
            self._process = None

    def _build(self, scene: int, options: dict[str, Any]) -> None:
        """Have the worker make the scene, starting it if it does not run. The seed draws one of the first five
        variations, unless ``options`` has a "variation". Raises UserError: the simulator can't be started as things
        are; no such variation; SimulatorError: it died, hung, or could not build the scene."""
        process = self._running(self._fresh)
        variation = options.get("variation")
        if variation is None:
            variation = int(np.random.default_rng(scene).integers(min(self._variations, DRAWN_VARIATIONS)))
        elif not isinstance(variation, (int, np.integer)) or not 0 <= variation < self._variations:
            raise UserError(f"variation={variation!r} is out of range; {self.task} has 0 to {self._variations - 1}")
        told = {"seed": scene % 2**32, "variation": int(variation), **self._arrange(scene)}
        answer = None
        if "demonstration" in options:
            answer = self._ask(process, "demonstrate", self.settings.demonstration_seconds, told)
            options["demonstration"].update(answer)
            process = self._running(self._fresh)
        if answer is None or self._fresh:
            answer = self._ask(process, "reset", self.settings.reset_seconds, told)
        self._over, self._variation = False, int(variation)
        self.instruction = answer["descriptions"][0]
        self._see(answer)

    def _play(self, action: np.ndarray) -> tuple[float, bool, bool, bool]:
        """Raises SimulatorError: the simulator died or hung; reset starts it again."""
        if self._process is None or not self._process.alive:
            raise SimulatorError("no simulator is running; call reset first")
        reward, success = 0.0, False
        if not self._over:
            numbers = command(action, self._state[:3])
            answer = self._ask(self._process, "step", self.settings.step_seconds, {"action": numbers})
            self._see(answer)
            reward, success = self._judge(answer)
            self._over = answer["terminate"] and not answer["success"]
        return reward, success, self._over, False

    def _draw(self) -> np.ndarray:
        return self._pictures

    def _info(self, success: bool) -> dict[str, Any]:
        return super()._info(success) | {"instruction": self.instruction, "variation": self._variation}

    def _arrange(self, scene: int) -> dict[str, Any]:
        """What the worker is told of a scene beside its seed."""
        return {}

    def _judge(self, answer: dict[str, Any]) -> tuple[float, bool]:
        """Reward of what was executed, and whether the task is solved now."""
        return answer["reward"], answer["success"]

    def _running(self, anew: bool) -> WorkerProcess:
        """The worker with its task, started if there is none; ``anew``: another one than before."""
        if anew:
            self.close()
        if self._process is not None and self._process.alive:
            return self._process
        images = bool(self._cameras)
        self.settings.check(images)
        process = WorkerProcess(self.settings, images)
        try:
            self._variations = process.call("launch", self.settings.launch_seconds, **self._launch)["variation_count"]
        except (RefusedError, SimulatorDiedError) as error:
            process.kill()
            raise explain_launch(error, self.settings, self.task, images) from error
        self._process = process
        return process

    def _ask(self, process: WorkerProcess, call: str, seconds: float, told: dict[str, Any]) -> dict[str, Any]:
        """What the simulator answers. One that can't is ended: nobody knows what state it is in."""
        try:
            return process.call(call, seconds, **told)
        except RefusedError as error:
            process.kill()
            raise SimulatorError(f"RLBench failed at {call!r} in {self.task}: {error.kind}: {error}") from error

    def _see(self, answer: dict[str, Any]) -> None:
        assert self._process is not None
        if self._cameras:
            self._pictures = np.frombuffer(self._process.frames, np.uint8).reshape(self._pictures.shape)
        self._low_dim = np.array(answer["low_dim"])
        self._state = pack_state(np.array(answer["pose"]), answer["open"], np.array(answer["joints"]), self._low_dim)


def command(action: np.ndarray, tip: np.ndarray) -> list[float]:
    """What the worker is sent for an action (7,) in [-1, 1] with the tip at (3,) metres: displacement (3,) in metres,
    cut at the workspace's border, unit quaternion xyzw (4,), gripper (1 opens)."""
    values = action.astype(np.float64)
    target = tip + MAX_DISPLACEMENT * values[:3]
    # A tip that is outside already may stay there, but goes no further.
    inside = np.clip(target, np.minimum(WORKSPACE_LOW, tip), np.maximum(WORKSPACE_HIGH, tip))
    turn = MAX_TURN * values[3:6]
    angle = float(np.linalg.norm(turn))
    # sin(angle / 2) / angle, which is 1 / 2 at 0.
    quaternion = np.append(0.5 * np.sinc(angle / (2 * np.pi)) * turn, np.cos(angle / 2))
    return [float(number) for number in (*(inside - tip), *quaternion, values[6] > 0)]
