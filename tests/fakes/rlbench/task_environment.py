import numpy as np

from rlbench.backend.exceptions import TaskEnvironmentError
from rlbench.faults import fault


class TaskEnvironment:
    def __init__(self, scene, task, action_mode):
        self._scene, self._task, self._action_mode = scene, task, action_mode
        self._variation_number = 0
        self._reset_called = False

    def get_name(self):
        return self._task.get_name()

    def sample_variation(self):
        self._variation_number = np.random.randint(0, self._task.variation_count())
        return self._variation_number

    def set_variation(self, v):
        if v >= self.variation_count():
            raise TaskEnvironmentError(
                f"Requested variation {v}, but there are only {self.variation_count()} variations."
            )
        self._variation_number = v

    def variation_count(self):
        return self._task.variation_count()

    def reset(self, demo=None):
        fault("reset")
        self._scene.reset()
        descriptions = self._scene.init_episode(self._variation_number)
        self._reset_called = True
        return descriptions, self._scene.get_observation()

    def get_observation(self):
        return self._scene.get_observation()

    def step(self, action):
        if not self._reset_called:
            raise RuntimeError("Call 'reset' before calling 'step' on a task.")
        lost = fault("step")
        self._action_mode.action(self._scene, action)
        success, terminate = self._task.success()
        return self._scene.get_observation(), float(success), terminate or lost

    def get_demos(self, amount, live_demos=False, max_attempts=10):
        if not live_demos:
            raise RuntimeError("Can't ask for a stored demo when no dataset root provided.")
        demos = []
        for _ in range(amount):
            state = np.random.get_state()
            self.reset()
            demo = self._scene.get_demo()
            demo.random_seed = state
            np.random.uniform()  # Planning draws, too.
            demos.append(demo)
        return demos

    def reset_to_demo(self, demo):
        raise KeyError("variation_index")
