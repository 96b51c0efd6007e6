"""Where weights are looked for: the space, Ax, and the cheap searches that check it."""
