"""What a checkpoint's memory is worth: frames of places seen again, objects put back, and its cost."""
