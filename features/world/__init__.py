"""The synthetic marketplace: a generated world whose true probabilities are known, so claims are checked against truth.

from features.world import make_world

dataset = Dataset.open(make_world("runs/world", seed=0))
"""

from features.world.log import draw_log
from features.world.make import make_world
from features.world.photographs import Photographs
from features.world.reactions import HEADS, Drivers, Probabilities, conditional, marginal, react
from features.world.world import DAY, START, World

__all__ = [
    "DAY",
    "HEADS",
    "START",
    "Drivers",
    "Photographs",
    "Probabilities",
    "World",
    "conditional",
    "draw_log",
    "make_world",
    "marginal",
    "react",
]
