from pyrep import PyRep

from rlbench.backend.scene import Scene
from rlbench.task_environment import TaskEnvironment


class Environment:
    def __init__(self, action_mode, obs_config, headless=False):
        self._action_mode, self._config = action_mode, obs_config
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

    def get_task(self, task_class):
        task = task_class(self._pyrep, self._scene.robot)
        self._scene.unload()
        self._scene.load(task)
        return TaskEnvironment(self._scene, task, self._action_mode)
