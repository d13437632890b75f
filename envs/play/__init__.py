"""One task played by hand, real and imagined side by side: the game, and the page that shows it."""
