"""Where committed outputs go."""
