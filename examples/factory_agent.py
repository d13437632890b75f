"""An agent of your own: cd examples && sfvgen-plan eval --task reach-v3 --agent factory_agent:make agent.push=0.5"""

import numpy as np

from sfvgen_plan.agents.base import PlanCost


class Circling:
    """Moves the hand in a circle, however the frame looks."""

    def __init__(self, push: float) -> None:
        self.push, self.decisions = push, 0

    def reset(self, task: str, seed: int) -> None:
        self.decisions = 0

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Frame (H, W, 3) uint8 -> two decisions (2, 4), to be executed before the next call."""
        angles = np.array([self.decisions, self.decisions + 1]) / 3
        self.decisions += 2
        still = np.zeros_like(angles)
        return self.push * np.stack([np.cos(angles), np.sin(angles), still, still], axis=1)

    def stats(self) -> PlanCost:
        return PlanCost()


def make(settings: dict) -> Circling:
    """Called once for every episode played side by side; may also ask for checkpoint, device and seed."""
    return Circling(float(settings.get("push", 1.0)))
