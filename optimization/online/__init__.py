"""Online rounds: weights as A/B groups, their numbers back, the next groups from all data."""
