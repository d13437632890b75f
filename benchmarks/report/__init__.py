"""Leaderboards, reports and the tables of the README: everything that is derived from rows."""
