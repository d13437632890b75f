"""Environments that are registered with Gymnasium, made tasks by their ids."""
