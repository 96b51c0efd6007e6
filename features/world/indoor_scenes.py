"""The rooms: bedroom, bathroom, bar, kitchen, gym. What lies behind is painted first."""

from __future__ import annotations

import numpy as np

from features.world.canvas import Canvas, cross, mix, rgb
from features.world.motif import DARK, GREY, WHITE, Motif
from features.world.scene_parts import paint_outlook

LAMP = rgb(1.0, 0.88, 0.50)


def bedroom(c: Canvas, m: Motif) -> None:
    """A bed with headboard, a window with curtains; where it is a good room a lamp and a large picture."""
    wall = m.shade(0, rgb(0.62, 0.58, 0.52), rgb(0.86, 0.84, 0.80))
    c.paint_gradient(wall, 0.92 * wall, 0.7)
    c.paint(c.ground(m.between(1, 0.64, 0.74)), m.shade(2, rgb(0.38, 0.26, 0.17), rgb(0.62, 0.47, 0.33)))
    left, top = m.between(3, 0.04, 0.12), m.between(4, 0.10, 0.18)
    right, sill = left + m.between(5, 0.22, 0.30), top + m.between(6, 0.26, 0.34)
    c.paint(c.rectangle(left - 0.025, right + 0.025, top - 0.025, sill + 0.025), WHITE)
    paint_outlook(c, m, left, right, top, sill)
    for curtain in (left - 0.025, right + 0.025):
        c.paint(c.rectangle(curtain - 0.045, curtain + 0.045, top - 0.05, sill + 0.12), m.accent)
    middle, edge = m.between(7, 0.62, 0.68), m.between(8, 0.56, 0.62)
    wide, board = 0.17 + 0.11 * m.strength, 0.10 + 0.16 * m.strength
    headboard = m.shade(9, rgb(0.25, 0.15, 0.10), rgb(0.48, 0.33, 0.22))
    c.paint(c.rectangle(middle - wide - 0.03, middle + wide + 0.03, edge - board, 0.85), headboard)
    c.paint(c.wedge(middle, edge, 0.92, wide, wide + 0.07), WHITE)
    for side in (-0.5, 0.5):
        c.paint(c.ellipse(middle + side * wide, edge + 0.02, 0.42 * wide, 0.05), rgb(0.84, 0.86, 0.90))
    c.paint(c.wedge(middle, edge + 0.13, 0.92, wide + 0.025, wide + 0.075), m.accent)
    lamp = middle - wide - 0.10
    c.paint(c.rectangle(lamp - 0.01, lamp + 0.01, edge, 0.8), DARK, m.strength)
    c.paint(c.ellipse(lamp, edge - 0.06, 0.05, 0.06), LAMP, m.strength)
    picture = m.shade(10, rgb(0.45, 0.2, 0.2), rgb(0.3, 0.45, 0.6))
    c.paint(c.rectangle(middle - 0.10, middle + 0.10, 0.10, 0.10 + 0.18 * m.strength), picture)


def bathroom(c: Canvas, m: Motif) -> None:
    """Tiles, a basin under a mirror, a tub: the larger and the more golden its tap, the better; a towel."""
    wall = m.shade(0, rgb(0.55, 0.66, 0.70), rgb(0.85, 0.88, 0.86))
    c.paint_gradient(wall, 0.93 * wall, 0.7)
    tile = m.between(1, 0.075, 0.11)
    across, down = c.stripes(c.y, 0.0, tile, 0.14), c.stripes(c.x, 0.0, tile, 0.14)
    c.paint(np.maximum(across[:, :, None], down[:, None, :]), rgb(0.97, 0.97, 0.97), 0.7)
    c.paint(c.ground(0.76), m.shade(2, rgb(0.30, 0.31, 0.34), rgb(0.60, 0.58, 0.55)))
    x = m.between(3, 0.20, 0.28)
    c.paint(c.rectangle(x - 0.13, x + 0.13, 0.10, 0.40), rgb(0.40, 0.42, 0.45))
    c.paint(c.rectangle(x - 0.11, x + 0.11, 0.12, 0.38), rgb(0.75, 0.86, 0.92))
    c.paint(c.rectangle(x - 0.14, x + 0.14, 0.54, 0.82), m.shade(4, rgb(0.32, 0.22, 0.15), rgb(0.65, 0.52, 0.40)))
    c.paint(c.ellipse(x, 0.53, 0.15, 0.05), WHITE)
    x, rim, wide = m.between(5, 0.66, 0.72), m.between(6, 0.60, 0.66), 0.14 + 0.13 * m.strength
    c.paint(c.ellipse(x, rim + 0.08, wide, 0.17) * c.ground(rim), WHITE)
    c.paint(c.rectangle(x - wide - 0.02, x + wide + 0.02, rim - 0.02, rim + 0.025), rgb(0.99, 0.99, 0.99))
    c.paint(c.ellipse(x, rim + 0.005, 0.9 * wide, 0.014), rgb(0.45, 0.70, 0.82))
    metal, tap = mix(GREY, rgb(0.95, 0.75, 0.25), m.strength), x + 0.6 * wide
    c.paint(c.rectangle(tap, tap + 0.022, rim - 0.15, rim), metal)
    c.paint(c.rectangle(tap - 0.08, tap + 0.022, rim - 0.15, rim - 0.125), metal)
    towel = m.between(7, 0.46, 0.56)
    c.paint(c.rectangle(towel - 0.05, towel + 0.05, 0.28, 0.50), m.accent)


def bar(c: Canvas, m: Motif) -> None:
    """Shelves of bottles behind a counter; with strength more stools and larger lamps."""
    wall = m.shade(0, rgb(0.22, 0.13, 0.12), rgb(0.36, 0.22, 0.18))
    c.paint_gradient(wall, 1.3 * wall, 0.7)
    shelf, first, pitch = m.between(1, 0.17, 0.21), m.between(2, 0.10, 0.16), m.between(3, 0.055, 0.08)
    left = m.between(4, 0.05, 0.2)
    along, rows = c.columns(left, m.between(5, 0.8, 0.95)), c.rows(first, first + 2 * shelf)
    c.paint(cross(rows, along), rgb(0.55, 0.40, 0.26))
    bodies, necks = c.stripes(c.y, first + 0.07, shelf, 0.58), c.stripes(c.y, first + 0.02, shelf, 0.32)
    for half, colour in ((0.0, rgb(0.15, 0.50, 0.25)), (0.5, m.accent)):
        at = left + half * pitch
        c.paint(cross(bodies * rows, c.stripes(c.x, at, pitch, 0.36) * along), colour)
        c.paint(cross(necks * rows, c.stripes(c.x, at + 0.13 * pitch, pitch, 0.14) * along), colour)
    boards = c.stripes(c.y, first + shelf - 0.02, shelf, 0.12) * c.rows(first, first + 2 * shelf + 0.02)
    c.paint(cross(boards, along), DARK)
    top = m.between(6, 0.58, 0.64)
    c.paint(c.rectangle(-9.0, 9.0, top, 0.92), m.shade(7, rgb(0.32, 0.17, 0.08), rgb(0.55, 0.34, 0.18)))
    c.paint(c.rectangle(-9.0, 9.0, top - 0.035, top + 0.02), m.shade(7, rgb(0.62, 0.45, 0.30), rgb(0.85, 0.70, 0.52)))
    apart, start = 0.34 - 0.14 * m.strength, m.between(8, 0.0, 0.2)
    c.paint(cross(c.rows(0.74, 0.79), c.stripes(c.x, start, apart, 0.5)), m.accent)
    c.paint(cross(c.rows(0.79, 1.1), c.stripes(c.x, start + 0.22 * apart, apart, 0.07)), rgb(0.75, 0.75, 0.75))
    for place in (0.25, 0.5, 0.75):
        x = m.between(9, place - 0.06, place + 0.06)
        c.paint(c.rectangle(x - 0.006, x + 0.006, -9.0, 0.08), DARK)
        c.paint(c.ellipse(x, 0.10, 0.03 + 0.035 * m.strength, 0.03 + 0.03 * m.strength), LAMP)


def kitchen(c: Canvas, m: Motif) -> None:
    """Cupboards in two rows, the upper one the higher the better; an oven with a pot under its hood; a fridge."""
    wall = m.shade(0, rgb(0.68, 0.66, 0.60), rgb(0.92, 0.90, 0.86))
    c.paint_gradient(wall, 0.92 * wall, 0.7)
    c.paint(c.ground(0.88), m.shade(1, rgb(0.35, 0.28, 0.22), rgb(0.60, 0.56, 0.50)))
    doors = 0.65 * m.shade(2, rgb(0.50, 0.36, 0.24), rgb(0.80, 0.78, 0.74)) + 0.35 * m.accent
    left, door = m.between(3, 0.28, 0.36), m.between(4, 0.15, 0.21)
    along = c.columns(left, 9.0)
    gaps = c.stripes(c.x, left, door, 0.09) * along
    for rows in (c.rows(0.08, 0.16 + 0.18 * m.strength), c.rows(0.58, 0.90)):
        c.paint(cross(rows, along), doors)
        c.paint(cross(rows, gaps), DARK, 0.6)
    c.paint(cross(c.rows(0.545, 0.59), along), m.shade(5, rgb(0.22, 0.22, 0.24), rgb(0.88, 0.86, 0.84)))
    x = left + door * np.floor(1 + 2 * m.u[:, 6])  # the second or the third cupboard is the oven
    hob = x + 0.5 * door
    c.paint(c.rectangle(x + 0.015, x + door - 0.005, 0.60, 0.89), rgb(0.55, 0.56, 0.58))
    c.paint(c.rectangle(x + 0.04, x + door - 0.03, 0.69, 0.84), rgb(0.06, 0.06, 0.07))
    c.paint(c.rectangle(hob - 0.055, hob + 0.055, 0.485, 0.545), rgb(0.70, 0.16, 0.14))
    c.paint(c.rectangle(hob - 0.09, hob + 0.09, 0.50, 0.515), DARK)
    c.paint(c.wedge(hob, 0.20, 0.36, 0.03, 0.5 * door), GREY)
    c.paint(c.rectangle(hob - 0.035, hob + 0.035, -9.0, 0.22), GREY)
    fridge = left - m.between(7, 0.03, 0.05)
    c.paint(c.rectangle(fridge - 0.22, fridge, 0.16, 0.93), rgb(0.90, 0.91, 0.93))
    c.paint(c.rectangle(fridge - 0.22, fridge, 0.42, 0.435), rgb(0.35, 0.36, 0.38))
    for top in (0.22, 0.48):
        c.paint(c.rectangle(fridge - 0.05, fridge - 0.03, top, top + 0.16), rgb(0.35, 0.36, 0.38))


def gym(c: Canvas, m: Motif) -> None:
    """Two treadmills from the side, barbells on a rack, a ball before a wall of mirrors; all larger with strength."""
    wall = m.shade(0, rgb(0.48, 0.52, 0.56), rgb(0.80, 0.82, 0.84))
    c.paint_gradient(wall, wall, 1.0)
    c.paint(c.ground(0.66), m.shade(1, rgb(0.16, 0.17, 0.19), rgb(0.36, 0.36, 0.38)))
    mirrors = c.stripes(c.x, m.between(2, 0.0, 0.2), m.between(3, 0.24, 0.32), 0.92)
    c.paint(cross(c.rows(0.08, 0.56), mirrors), rgb(0.70, 0.84, 0.90))
    for place in (0.19, 0.46):
        x, size = m.between(4, place - 0.04, place + 0.04), 0.65 + 0.3 * m.strength
        screen = 0.78 - 0.42 * size
        c.paint(c.rectangle(x - 0.15 * size, x + 0.14 * size, 0.80, 0.86), DARK)
        c.paint(c.rectangle(x - 0.13 * size, x + 0.08 * size, 0.80, 0.815), rgb(0.70, 0.70, 0.72))
        c.paint(c.rectangle(x + 0.08 * size, x + 0.12 * size, screen + 0.04, 0.82), rgb(0.22, 0.22, 0.25))
        c.paint(c.rectangle(x - 0.06 * size, x + 0.10 * size, 0.82 - 0.24 * size, 0.845 - 0.24 * size), DARK)
        c.paint(c.rectangle(x + 0.03 * size, x + 0.14 * size, screen, screen + 0.10), DARK)
        c.paint(c.rectangle(x + 0.045 * size, x + 0.12 * size, screen + 0.015, screen + 0.07), rgb(0.45, 0.85, 0.95))
    x, wide = m.between(5, 0.74, 0.80), 0.07 + 0.05 * m.strength
    for side in (-0.5, 0.5):
        post = x + side * wide
        c.paint(c.rectangle(post - 0.012, post + 0.012, 0.42, 0.90), GREY)
    for y in (0.48, 0.70):
        c.paint(c.rectangle(x - 1.35 * wide, x + 1.35 * wide, y - 0.012, y + 0.012), rgb(0.78, 0.78, 0.80))
        for away, half, high in ((0.0, 0.02, 0.10), (0.038, 0.0125, 0.065)):
            first, second = x - wide - away, x + wide + away
            plates = np.maximum(c.columns(first - half, first + half), c.columns(second - half, second + half))
            c.paint(cross(c.rows(y - high, y + high), plates), DARK)
    ball = 0.05 + 0.04 * m.strength
    c.paint(c.ellipse(m.between(6, 0.25, 0.6), 0.96 - ball, ball, ball), m.accent)
