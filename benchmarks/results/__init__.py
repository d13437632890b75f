"""Results of episodes: one row each, kept in stores and files."""

from sfvgen_plan.benchmarks.results.row import EpisodeKey, EpisodeRow

__all__ = ["EpisodeKey", "EpisodeRow"]
