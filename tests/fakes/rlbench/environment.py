from pyrep import PyRep

from rlbench.backend.scene import Scene
from rlbench.observation_config import ObservationConfig
from rlbench.task_environment import TaskEnvironment


class Environment:
    def __init__(
        self,
        action_mode,
        dataset_root="",
        obs_config=None,
        headless=False,
        static_positions=False,
        robot_setup="panda",
        attach_grasped_objects=True,
        shaped_rewards=False,
        arm_max_velocity=1.0,
        arm_max_acceleration=4.0,
    ):
        self._action_mode, self._config = action_mode, obs_config or ObservationConfig()
        self._pyrep = self._scene = None

    def launch(self):
        if self._pyrep is not None:
            raise RuntimeError("Already called launch!")
        self._pyrep = PyRep()
        self._pyrep.launch("task_design.ttt", headless=True)
        self._scene = Scene(self._pyrep, self._config)
        self._action_mode.arm_action_mode.set_control_mode(self._scene.robot)

    def shutdown(self):
        if self._pyrep is not None:
            self._pyrep.shutdown()
        self._pyrep = None

    def get_task(self, task_class):
        if self._pyrep is None:
            self.launch()
        task = task_class(self._pyrep, self._scene.robot)
        self._scene.unload()
        self._scene.load(task)
        return TaskEnvironment(self._scene, task, self._action_mode)

    @property
    def action_shape(self):
        return (self._action_mode.action_shape(self._scene),)
