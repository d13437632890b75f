"""Episodic memory: Temp-LoRA weights Θ that learn the current episode while it is imagined."""
