"""Metaworld's tasks as Gymnasium environments."""
