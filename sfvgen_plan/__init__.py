"""SlowFast-VGen as a Gymnasium simulator for planning and reinforcement learning."""

import sys
from pathlib import Path

from sfvgen_plan.devices import make_threads_patient

__version__ = "0.1.0"

# In a checkout envs/, agents/, benchmarks/ and configs/ lie beside this folder; an installation has them inside it.
if not (Path(__file__).parent / "envs").is_dir():
    __path__.append(str(Path(__file__).resolve().parents[1]))

make_threads_patient()  # before anything here imports torch or MuJoCo

if "gymnasium" in sys.modules:  # free then; importing it here would slow every command down
    from sfvgen_plan.registration import register_envs

    register_envs()
