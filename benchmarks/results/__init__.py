"""Results of episodes: one row each, kept in stores and files."""
