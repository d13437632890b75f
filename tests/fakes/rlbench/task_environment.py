import numpy as np

from rlbench.faults import fault


class TaskEnvironment:
    def __init__(self, scene, task, action_mode):
        self._scene, self._task, self._action_mode = scene, task, action_mode
        self._variation_number = 0
        self._reset_called = False

    def set_variation(self, v):
        assert v < self.variation_count()
        self._variation_number = v

    def variation_count(self):
        return self._task.variation_count()

    def reset(self):
        fault("reset")
        self._scene.reset()
        descriptions = self._scene.init_episode(self._variation_number)
        self._reset_called = True
        return descriptions, self._scene.get_observation()

    def step(self, action):
        if not self._reset_called:
            raise RuntimeError("Call 'reset' before calling 'step' on a task.")
        lost = fault("step")
        self._action_mode.action(self._scene, action)
        success, terminate = self._task.success()
        return self._scene.get_observation(), float(success), terminate or lost

    def get_demos(self, amount, live_demos=False, max_attempts=10):
        assert (amount, live_demos) == (1, True)
        self.reset()
        demo = self._scene.get_demo()
        np.random.uniform()  # Planning draws, too.
        return [demo]
