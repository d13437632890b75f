"""Tasks that need a memory longer than a video model's context window, on the Sawyer table of Metaworld."""
