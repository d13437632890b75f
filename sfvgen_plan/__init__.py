"""SlowFast-VGen as a Gymnasium simulator for planning and reinforcement learning."""

__version__ = "0.1.0"
