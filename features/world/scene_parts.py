"""What several scenes have in common: the sky, the land, trees, a window's outlook, and what lies about."""

from __future__ import annotations

import numpy as np

from features.world.canvas import Array, Canvas, rgb
from features.world.motif import CLUTTER, OUTLOOK, RIDGE, SKY, TREE, WHITE, WOOD, Motif


def paint_sky(c: Canvas, m: Motif, horizon: Array) -> None:
    """A sky that covers everything, brighter towards the horizon, and a cloud."""
    zenith = m.shade(SKY, rgb(0.22, 0.48, 0.84), rgb(0.48, 0.68, 0.90))
    haze = m.shade(SKY, rgb(0.70, 0.84, 0.95), rgb(0.90, 0.90, 0.88))
    c.paint_gradient(zenith, haze, horizon)
    x, y = m.between(SKY + 1, 0.1, 0.9), m.between(SKY + 2, 0.08, 0.2)
    c.paint(c.ellipse(x, y, 0.13, 0.035), WHITE, 0.8)
    c.paint(c.ellipse(x + 0.05, y - 0.02, 0.07, 0.04), WHITE, 0.8)


def ridge(c: Canvas, m: Motif, foot: Array, high: Array) -> Array:
    """The line of three peaks, `high` above their foot or somewhat less; (n, S)."""
    line = np.full_like(c.x, 9)
    for k, place in enumerate((0.18, 0.52, 0.85)):
        x = m.between(RIDGE + k, place - 0.14, place + 0.14)
        peak = foot - high * m.between(RIDGE + 3 + k, 0.65, 1.0)
        np.minimum(line, np.abs(c.x - x[:, None]) * np.float32(0.95) + peak[:, None], out=line)
    return line


def paint_land(c: Canvas, m: Motif, foot: Array) -> None:
    """The mountains far behind, the higher the more mountainous the land."""
    line = ridge(c, m, foot, 0.05 + 0.62 * m.hills)
    c.paint(c.below(line), rgb(0.45, 0.52, 0.58), np.clip(3 * m.hills - 0.6, 0, 1))


def paint_tree(c: Canvas, m: Motif, x: Array, ground: Array, size: Array) -> None:
    """A palm, the likelier the nearer the sea; a fir, the likelier in mountains; else a tree with a round crown."""
    palm = (m.u[:, TREE] < 1.6 * m.coast - 0.5).astype(np.float32)
    fir = (m.u[:, TREE + 1] < 1.6 * m.hills - 0.5).astype(np.float32) * (1 - palm)
    trunk, high = (0.10 - 0.04 * palm) * size, (1 + 1.1 * palm) * size
    c.paint(c.rectangle(x - trunk, x + trunk, ground - high, ground), WOOD)
    crown = m.shade(TREE + 2, rgb(0.12, 0.36, 0.14), rgb(0.36, 0.56, 0.22))
    c.paint(c.ellipse(x, ground - 1.4 * size, 0.62 * size, 0.75 * size), crown, 1 - np.maximum(palm, fir))
    for low, half in ((0.25, 0.65), (0.95, 0.45)):
        boughs = c.wedge(x, ground - (low + 1.2) * size, ground - low * size, 0.01, half * size)
        c.paint(boughs, rgb(0.06, 0.24, 0.15), fir)
    # fronds: two bands under the upper edges of ellipses
    for drop, reach in ((0.55, 0.80), (0.25, 1.05)):
        over = c.ellipse(x, ground - 1.65 * size, reach * size, (0.35 + drop) * size)
        under = c.ellipse(x, ground + (drop - 1.58) * size, reach * size, (0.42 + drop) * size)
        c.paint(over * (1 - under), rgb(0.16, 0.46, 0.18), palm)


def paint_outlook(c: Canvas, m: Motif, left: Array, right: Array, top: Array, sill: Array) -> None:
    """What is seen through a window: sky, and the mountains, the town or the sea that the property overlooks."""
    middle, high, wide = (left + right) / 2, sill - top, right - left
    pane = c.rectangle(left, right, top, sill)
    c.paint(pane, rgb(0.62, 0.80, 0.95))
    peak = middle + m.between(OUTLOOK, -0.05, 0.05)
    hill = np.abs(c.x - peak[:, None]) * np.float32(1.6) + (top + 0.3 * high)[:, None]
    c.paint(pane * c.below(hill), rgb(0.38, 0.44, 0.42), m.flags["mountain_view"])
    roofs = (sill - 0.45 * high)[:, None] - c.stripes(c.x, left, wide / 2.5, 0.5) * (0.3 * high)[:, None]
    c.paint(pane * c.below(roofs), rgb(0.36, 0.36, 0.42), m.flags["city_view"])
    c.paint(pane * c.ground(top + 0.55 * high), rgb(0.08, 0.36, 0.62), m.flags["sea_view"])
    c.paint(c.rectangle(middle - 0.008, middle + 0.008, top, sill), WHITE)


def paint_sunshade(c: Canvas, m: Motif, x: Array, top: Array, ground: Array) -> None:
    """A sunshade on its pole, in the colour of the accents."""
    c.paint(c.rectangle(x - 0.01, x + 0.01, top, ground), rgb(0.45, 0.32, 0.2))
    c.paint(c.wedge(x, top, top + 0.11, 0.01, 0.12 + 0.05 * m.strength), m.accent)


def paint_clutter(c: Canvas, m: Motif) -> None:
    """Boxes and bundles in any colour on the ground: with more clutter more of them, up to three of each."""
    for k in range(3):
        n = CLUTTER + 9 * k
        # the number of things grows with the clutter, and the next one with it from nothing to its size
        box, bundle = (
            np.clip(7 * m.clutter - (2 * k + j), 0, 1) * m.between(n + j, 0.045, 0.085) + np.float32(1e-3)
            for j in (0, 1)
        )
        x, y = m.between(n + 2, 0.02, 0.98), m.between(n + 3, 0.62, 0.95)
        boxes = c.rectangle(x - box, x + box, y - box, y + box)
        x, y = m.between(n + 4, 0.02, 0.98), m.between(n + 5, 0.66, 0.97)
        bundles = c.ellipse(x, y, 1.2 * bundle, 0.8 * bundle)
        colour = np.float32(0.1) + np.float32(0.65) * m.u[:, n + 6 : n + 9]
        c.paint(np.maximum(boxes, bundles), colour)
