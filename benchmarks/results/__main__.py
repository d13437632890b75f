"""``python -m sfvgen_plan.benchmarks.results``: ``merge`` and ``export``."""

import sys

from sfvgen_plan.benchmarks.results.import_export import main

sys.exit(main())
