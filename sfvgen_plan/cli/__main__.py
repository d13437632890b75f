"""``python -m sfvgen_plan.cli``: the same as ``sfvgen-plan``."""

import sys

from sfvgen_plan.cli import main

if __name__ == "__main__":
    sys.exit(main())
