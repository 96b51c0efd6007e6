"""What the textbook formula does to several heads when whole rows were sampled, and what the exact correction does.

    python examples/correction/simulation.py [--rows 4000000] [--seed 0]

Impressions with four engagements are simulated; every row with an engagement is kept, every other row with probability
alpha. On the kept rows the share of each engagement is counted cell by cell of the features (the best that any model
could learn), corrected by both formulas, and summed over *all* rows: predicted / observed. No learning is involved, so
what is off is the formula.
"""

from __future__ import annotations

import argparse

import numpy as np

from ranking import correct_row_sampling, correct_single_head

HEADS = ("closeup", "save", "click", "long_click")
CELLS = 400
RATES = (0.5, 0.1, 0.05, 0.01)


def simulate(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(cell of each row (N,), labels (N, 4)); long_click happens only after a click, the heads share an affinity."""
    random = np.random.default_rng(seed)
    affinity = np.quantile(random.normal(size=100_000), (np.arange(CELLS) + 0.5) / CELLS)  # (cells,)
    cell = random.integers(0, CELLS, rows)
    a = affinity[cell]

    def happens(logit: np.ndarray) -> np.ndarray:
        return random.random(rows) < 1.0 / (1.0 + np.exp(-logit))

    click = happens(-3.75 + 0.95 * a)
    long_click = click & happens(-0.95 + 0.6 * a)
    return cell, np.column_stack([happens(-2.75 + 0.85 * a), happens(-4.75 + 1.2 * a), click, long_click])


def logit(share: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):  # a cell without an engagement has logit -inf: its share is 0 again below
        return np.log(share) - np.log1p(-share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    cell, labels = simulate(arguments.rows, arguments.seed)
    engaged = labels.any(1)
    rates = ", ".join(f"{h} {r:.1%}" for h, r in zip(HEADS, labels.mean(0)))
    print(f"{arguments.rows:,} rows: {rates}; any {engaged.mean():.1%}\n")
    print(f"{'alpha':<8}{'formula':<10}" + "".join(f"{h:>16}" for h in HEADS))
    size = np.bincount(cell, minlength=CELLS)
    observed = labels.sum(0)
    for alpha in RATES:
        kept = engaged | (np.random.default_rng([arguments.seed, int(1 / alpha)]).random(len(cell)) < alpha)
        n = np.bincount(cell[kept], minlength=CELLS)
        q = np.column_stack([np.bincount(cell[kept], labels[kept, j], CELLS) / n for j in range(len(HEADS))])
        q_any = np.bincount(cell[kept], engaged[kept], CELLS) / n
        naive = np.exp(correct_single_head(logit(q), alpha))
        exact = np.exp(correct_row_sampling(logit(q), logit(q_any), alpha))
        for name, p in (("per head", naive), ("exact", exact)):
            ratio = size @ p / observed
            print(f"{alpha:<8g}{name:<10}" + "".join(f"{r:>16.3f}" for r in ratio))


if __name__ == "__main__":
    main()
