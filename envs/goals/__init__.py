"""Goals that no reward of Metaworld asks for, in the scenes of its tasks."""
