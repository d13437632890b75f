"""SlowFast-VGen as a Gymnasium simulator for planning and reinforcement learning."""

import sys

__version__ = "0.1.0"

if "gymnasium" in sys.modules:  # free then; importing it here would slow every command down
    from sfvgen_plan.registration import register_envs

    register_envs()
