"""Our frames cost a fraction of Gymnasium's."""

from sfvgen_plan.benchmarks.rendering import measure


def test_several_times_cheaper():
    """The target is 8 times; a busy machine gets some slack."""
    results = measure(batches=2)
    assert results["render_speedup"] > 4
