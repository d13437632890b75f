"""How fast is it here? ``python -m sfvgen_plan.benchmarks.speed`` measures (``make bench``): one row a number."""
