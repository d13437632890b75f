"""What somebody brings who has an environment of their own: it knows nothing of this package. Importing it registers
``Dot-v0``, where a dot steps left, stays or steps right, and ``DotBox-v0``, where it is pushed by -2 to 4 pixels."""

import gymnasium as gym
import numpy as np

WIDTH = 20


class DotEnv(gym.Env):
    """A dot on a line of ``WIDTH`` pixels, which is over at the left end; at the right end it earns 50."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's own convention

    def __init__(self, discrete, render_mode=None):
        self.render_mode, self.discrete = render_mode, discrete
        self.action_space = gym.spaces.Box(-2.0, 4.0, (1,), np.float64)
        if discrete:
            self.action_space = gym.spaces.Discrete(3)
        self.observation_space = gym.spaces.Box(0.0, WIDTH, (2,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = float(self.np_random.integers(5, 15))
        return self._observation(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.place = min(self.place + (2.0 * (action - 1) if self.discrete else float(action[0])), WIDTH - 1.0)
        return self._observation(), 50.0 if self.place == WIDTH - 1 else -1.0, self.place <= 0, False, {}

    def render(self):
        frame = np.full((10, WIDTH, 3), 60, np.uint8)
        frame[2:8, max(0, int(self.place) - 1) : int(self.place) + 2] = (240, 200, 0)
        return frame

    def _observation(self):
        return np.array([np.clip(self.place, 0, WIDTH), 0.0])


def right(env):
    """A policy: always to the right, with the environment's own actions."""
    return 2 if env.own.unwrapped.discrete else np.array([4.0])


for name, discrete in (("Dot-v0", True), ("DotBox-v0", False)):
    if name not in gym.registry:
        entry = f"{__name__}:DotEnv"
        gym.register(name, entry, max_episode_steps=12, kwargs={"discrete": discrete})
