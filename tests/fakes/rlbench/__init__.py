from rlbench.faults import fault

__version__ = "1.2.0"

fault("import")
