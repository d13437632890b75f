"""A whole simulator in one file: a dot that is pushed to a square, drawn with NumPy.

It is what somebody has to write who brings a simulator: an environment, an expert, and the family that names them.
"""

import gymnasium as gym
import numpy as np

from sfvgen_plan.agents.base import Stateless
from sfvgen_plan.data.sources import Source
from sfvgen_plan.envs.family import Family, register_family

STEP, NEAR = 0.25, 0.15
READOUTS = ("x", "y", "goal_x", "goal_y", "gap_x", "gap_y", "distance", "action_x", "action_y", "time")
CORNERS = {"toy/left": -0.8, "toy/right": 0.8}


class ToyEnv(gym.Env):
    """The goal's column belongs to the task, its row and the dot's place to the seed."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 - Gymnasium's own convention
    render_mode = "rgb_array"

    def __init__(self, task, size=32, camera="top", repeat=1, max_decisions=12, pixels=True):
        self.task, self.instruction = task, FAMILY.tasks[task]
        self.size, self.camera, self.repeat = size, camera, repeat
        self.max_decisions, self.pixels = max_decisions, pixels
        self.observation_space = gym.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-0.8, 0.8, 2)
        self.goal = np.array([CORNERS[self.task], self.np_random.uniform(-0.8, 0.8)])
        self.action, self.time, self.latched = np.zeros(2), 0, False
        return self.render(), self._info(success=False)

    def step(self, action):
        self.action = np.clip(action, -1.0, 1.0)
        self.place = np.clip(self.place + STEP * self.action, -1.0, 1.0)
        self.time += 1
        distance = float(np.linalg.norm(self.goal - self.place))
        self.latched |= distance < NEAR
        reward, over = 3.0 * max(0.0, 1.0 - distance), self.time >= self.max_decisions
        return self.render(), reward, False, over, self._info(distance < NEAR)

    def render(self):
        frame = np.full((self.size, self.size, 3), 90, np.uint8)
        for (x, y), colour in ((self.goal, (30, 160, 30)), (self.place, (200, 30, 30))):
            column, row = (int((value + 1) / 2 * (self.size - 5)) for value in (x, y))
            frame[row : row + 5, column : column + 5] = colour
        return frame

    def _info(self, success):
        gap = self.goal - self.place
        state = np.array([*self.place, *self.goal, *gap, np.linalg.norm(gap), *self.action, self.time / 10])
        seen = {"state": state, "estimates": state.astype(np.float32)}
        return {"success": success, "success_latched": self.latched, **seen}


class ToyExpert(Stateless):
    """Goes straight to the goal."""

    def __init__(self, task):
        pass

    def act(self, env):
        return np.clip((env.goal - env.place) / STEP, -1.0, 1.0).astype(np.float32)


FAMILY = Family(
    name="toy",
    title="the toy simulator",
    env_id="test/Toy-v0",
    version="toy 1",
    tasks={task: f"push the dot to the square on the {task.rpartition('/')[2]}" for task in CORNERS},
    source=Source(READOUTS, reward_scale=3.0, raw_steps_per_second=4, licence="Toys are for everybody."),
    action_dim=2,
    camera="top",
    size=32,
    decisions=12,
    expert=ToyExpert,
)
register_family(FAMILY)
if FAMILY.env_id not in gym.registry:
    gym.register(FAMILY.env_id, f"{__name__}:ToyEnv")
