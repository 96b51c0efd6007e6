"""Under the sky: facade, pool, sea, mountain, garden. What lies behind is painted first."""

from __future__ import annotations

import numpy as np

from features.world.canvas import Array, Canvas, cross, mix, rgb
from features.world.motif import WHITE, WOOD, Motif
from features.world.scene_parts import paint_land, paint_sky, paint_sunshade, paint_tree, ridge


def facade(c: Canvas, m: Motif) -> None:
    """The house between a tree and what is behind it.

    More storeys in towns and in blocks of flats; a vacation rental is low and has a roof of tiles; railings in the
    colour of the accents are balconies, a red board is a chain's; behind it mountains, and a skyline in towns, higher
    where there is a view of the city. A better house is wider and has more windows.
    """
    ground = m.between(0, 0.82, 0.88)
    paint_sky(c, m, ground)
    paint_land(c, m, ground)
    blocks = 0.25 * c.stripes(c.x, m.between(1, 0, 0.3), 0.31, 0.55) + 0.2 * c.stripes(
        c.x, m.between(2, 0, 0.3), 0.23, 0.4
    )
    skyline = ground[:, None] - (blocks + np.float32(0.05)) * (m.urban * (1 + m.flags["city_view"]))[:, None]
    c.paint(c.below(skyline), rgb(0.52, 0.53, 0.58), np.clip(2.5 * m.urban - 0.5, 0, 1))
    c.paint(c.ground(ground), mix(rgb(0.36, 0.55, 0.24), rgb(0.40, 0.40, 0.42), np.clip(3 * m.urban - 1, 0, 1)))

    rental, flats = m.flags["vacation_rental"], m.flags["block_of_flats"]
    extra = 1 + 3.2 * m.urban + 1.6 * flats + 0.8 * m.u[:, 3]
    storeys = np.clip(np.round(1.2 + (1 - 0.6 * rental) * extra), 1, 7)
    storey = np.minimum(0.68 / storeys, np.float32(0.17)) * (0.85 + 0.15 * m.strength)
    x, wide = m.between(4, 0.42, 0.58), (m.between(5, 0.20, 0.27) + 0.09 * m.strength) * (1 - 0.15 * flats)
    roof = ground - storeys * storey
    wall, tiles = m.shade(6, rgb(0.66, 0.55, 0.45), rgb(0.93, 0.90, 0.84)), rgb(0.56, 0.24, 0.17)
    front = c.columns(x - wide, x + wide)
    c.paint(c.wedge(x, roof - 0.16, roof + 0.005, 0.02, wide + 0.05), tiles, rental)
    c.paint(cross(c.rows(roof, ground), front), wall)
    c.paint(c.rectangle(x - wide - 0.02, x + wide + 0.02, roof - 0.03, roof), 0.6 * wall, 1 - rental)
    bay = 2 * wide / np.round(2 + 2.4 * m.u[:, 7] + 1.5 * m.strength)
    rows = c.stripes(c.y, roof + 0.25 * storey, storey, 0.5) * c.rows(roof, ground - 0.01)
    windows = cross(rows, c.stripes(c.x, x - wide + 0.25 * bay, bay, 0.5) * front)
    c.paint(windows, m.shade(8, rgb(0.16, 0.22, 0.32), rgb(0.42, 0.58, 0.70)))
    rows = c.stripes(c.y, roof + 0.72 * storey, storey, 0.22) * c.rows(roof, ground - storey)
    rails = cross(rows, c.stripes(c.x, x - wide + 0.1 * bay, bay, 0.8) * front)
    c.paint(rails, m.accent, m.flags["balcony"])
    c.paint(c.rectangle(x - 0.05, x + 0.05, ground - 0.13, ground), rgb(0.28, 0.16, 0.10))
    c.paint(c.rectangle(x - 0.15, x + 0.15, ground - 0.20, ground - 0.135), rgb(0.85, 0.10, 0.14), m.flags["chain"])
    c.paint(c.rectangle(x - 0.11, x + 0.11, ground - 0.18, ground - 0.155), WHITE, m.flags["chain"])
    paint_tree(c, m, m.between(9, 0.06, 0.14), ground + 0.03, 0.16 * (1.35 - 0.6 * m.urban))


def pool(c: Canvas, m: Motif) -> None:
    """A basin in perspective, larger and bluer with strength, sunbeds closer together; a sunshade, a tree."""
    horizon = m.between(0, 0.36, 0.44)
    paint_sky(c, m, horizon)
    paint_land(c, m, horizon)
    hedge = horizon[:, None] - 0.05 - 0.16 * np.abs(c.phase(c.x, m.u[:, 1], 0.2) - np.float32(0.5))
    c.paint(c.below(hedge), m.shade(2, rgb(0.10, 0.32, 0.14), rgb(0.28, 0.48, 0.22)))
    c.paint(c.ground(horizon), m.shade(3, rgb(0.66, 0.56, 0.45), rgb(0.88, 0.82, 0.72)))
    x, top = m.between(4, 0.45, 0.6), m.between(5, 0.54, 0.58)
    bottom = top + 0.16 + 0.24 * m.strength
    far, near = 0.16 + 0.14 * m.strength, 0.26 + 0.22 * m.strength
    c.paint(c.wedge(x, top - 0.025, bottom + 0.03, far + 0.02, near + 0.05), WHITE)
    water = c.wedge(x, top, bottom, far, near)
    c.paint(water, mix(rgb(0.30, 0.62, 0.72), rgb(0.05, 0.62, 0.86), m.strength))
    y, x = m.u[:, 6], m.u[:, 7]
    ripples = cross(c.stripes(c.y, y, 0.075, 0.3), c.stripes(c.x, x, 0.19, 0.45))
    ripples += cross(c.stripes(c.y, y + 0.037, 0.075, 0.3), c.stripes(c.x, x + 0.09, 0.19, 0.4))
    c.paint(water * np.minimum(ripples, 1), rgb(0.72, 0.92, 0.97), 0.7)
    paint_tree(c, m, m.between(8, 0.78, 0.92), horizon + 0.08, m.between(9, 0.13, 0.17))
    beds = c.stripes(c.x, m.between(10, 0, 0.2), 0.26 - 0.10 * m.strength, 0.55)
    c.paint(cross(c.rows(horizon + 0.045, horizon + 0.085), beds), WHITE)
    paint_sunshade(c, m, m.between(11, 0.1, 0.25), horizon - 0.13, horizon + 0.26)


def sea(c: Canvas, m: Motif) -> None:
    """Water to the horizon, bluer with strength, and a beach that is then broader; a sail, a sunshade."""
    horizon = m.between(0, 0.38, 0.50)
    paint_sky(c, m, horizon)
    water = c.ground(horizon)
    c.paint(water, mix(rgb(0.30, 0.42, 0.48), rgb(0.02, 0.36, 0.66), m.strength))
    shallow = np.clip(2 * (c.y - horizon[:, None]), 0, 1)[:, :, None]
    c.paint(shallow, mix(rgb(0.40, 0.54, 0.55), rgb(0.10, 0.72, 0.78), m.strength), 0.75)
    for k, length in enumerate((0.34, 0.24)):
        waves = cross(c.stripes(c.y, m.u[:, 1 + k], 0.11, 0.16), c.stripes(c.x, m.u[:, 3 + k], length, 0.5))
        c.paint(waves * water, rgb(0.90, 0.96, 0.97), 0.75)
    x, y, size = m.between(5, 0.45, 0.85), horizon + 0.035, m.between(6, 0.06, 0.11)
    c.paint(c.wedge(x, y - 1.9 * size, y - 0.2 * size, 0.004, 0.5 * size), WHITE)
    hull = m.shade(7, rgb(0.35, 0.12, 0.10), rgb(0.12, 0.14, 0.25))
    c.paint(c.wedge(x, y - 0.1 * size, y + 0.3 * size, 0.8 * size, 0.45 * size), hull)
    shore = m.between(8, 0.74, 0.84) - 0.08 * m.strength
    line = _slope(c, shore, m.between(9, -0.22, 0.22))
    c.paint(c.below(line - np.float32(0.03)), WHITE)
    c.paint(c.below(line + np.float32(0.015)), m.shade(10, rgb(0.74, 0.62, 0.44), rgb(0.93, 0.85, 0.66)))
    paint_sunshade(c, m, m.between(11, 0.12, 0.35), shore - 0.21, shore + 0.13)


def mountain(c: Canvas, m: Motif) -> None:
    """Peaks, higher and with more snow the stronger; a meadow with firs and a hut."""
    foot = m.between(0, 0.66, 0.74)
    paint_sky(c, m, foot)
    high = 0.34 + 0.26 * m.strength
    rock = c.below(ridge(c, m, foot, high))
    c.paint(rock, m.shade(1, rgb(0.33, 0.34, 0.40), rgb(0.50, 0.47, 0.46)))
    edge = np.abs(c.phase(c.x, m.u[:, 2], 0.14) - np.float32(0.5))  # ragged
    snow = (foot - high * m.between(3, 0.55, 0.7))[:, None] + 0.12 * edge
    c.paint(rock * (1 - c.below(snow)), rgb(0.97, 0.98, 1.0), 0.6 + 0.4 * m.strength)
    meadow = m.shade(4, rgb(0.25, 0.42, 0.18), rgb(0.48, 0.62, 0.28))
    c.paint(c.below(_slope(c, foot, m.between(5, -0.15, 0.15))), meadow)
    edge = np.abs(c.phase(c.x, m.u[:, 6], m.between(7, 0.14, 0.2)) - np.float32(0.5))
    firs = c.below(m.between(8, 0.70, 0.80)[:, None] + 0.42 * edge)
    c.paint(firs * (1 - c.ground(0.86)), rgb(0.07, 0.22, 0.13))
    hut = m.between(9, 0.25, 0.75)
    c.paint(c.rectangle(hut - 0.07, hut + 0.07, 0.80, 0.92), rgb(0.48, 0.30, 0.17))
    c.paint(c.wedge(hut, 0.72, 0.81, 0.01, 0.105), m.accent)


def garden(c: Canvas, m: Motif) -> None:
    """Hedge, lawn, path and a tree; with strength larger beds of flowers and a bench."""
    horizon = m.between(0, 0.40, 0.48)
    paint_sky(c, m, horizon)
    paint_land(c, m, horizon)
    bush = c.phase(c.x, m.u[:, 1], 0.17) - np.float32(0.5)
    hedge = horizon[:, None] - 0.10 + 0.16 * bush * bush
    c.paint(c.below(hedge), m.shade(2, rgb(0.08, 0.27, 0.11), rgb(0.22, 0.40, 0.17)))
    c.paint(c.ground(horizon + 0.05), m.shade(3, rgb(0.32, 0.55, 0.18), rgb(0.52, 0.72, 0.30)))
    stone = m.shade(4, rgb(0.66, 0.60, 0.52), rgb(0.84, 0.80, 0.74))
    c.paint(c.wedge(m.between(5, 0.35, 0.65), horizon + 0.05, 1.3, 0.03, 0.28), stone)
    wide = 0.08 + 0.2 * m.strength
    sides = np.maximum(c.columns(-9.0, wide), c.columns(1 - wide, 9.0))
    bed = cross(c.rows(0.66 - 0.10 * m.strength, 0.96), sides)
    c.paint(bed, rgb(0.16, 0.38, 0.12))
    flowers = cross(c.stripes(c.y, m.u[:, 6], 0.085, 0.45), c.stripes(c.x, m.u[:, 7], m.between(8, 0.07, 0.10), 0.45))
    c.paint(bed * flowers, m.accent)
    paint_tree(c, m, m.between(9, 0.72, 0.85), horizon + 0.14, 0.13 + 0.06 * m.strength)
    c.paint(c.rectangle(0.25, 0.42, 0.60, 0.63), rgb(0.50, 0.33, 0.18), m.strength)
    for left in (0.27, 0.38):
        c.paint(c.rectangle(left, left + 0.02, 0.63, 0.69), WOOD, m.strength)


def _slope(c: Canvas, middle: Array, slope: Array) -> Array:
    """(n, S) line of the height `middle` at the scene's middle, falling to the right by `slope`."""
    return np.asarray(middle[:, None] + (c.x - np.float32(0.5)) * slope[:, None])
