"""Datasets of episodes: how one is staged, written in Minari's layout, and read back for training."""
