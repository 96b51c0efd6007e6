"""What [Modulation] prints, to stand beside what is measured here; shares of triplets, not per cent."""

from __future__ import annotations

# Table 3, 20 face attributes; "40" is the text below it, with IB-25 as its baseline.
ATTRIBUTES_20 = {
    "modulation": 0.8486, "independent": 0.8461, "ib_wide": 0.8369, "only_mask": 0.7632, "ib_narrow": 0.7547,
    "csn": 0.7281, "shared": 0.694,
}  # fmt: skip
ATTRIBUTES_40 = {"modulation": 0.8575, "ib_narrow": 0.7822}
# Table 5, seven face attributes. "modulation" is from block 4.
ATTRIBUTES_7 = {
    "shared": 0.7138, "independent": 0.8272, "csn": 0.8120, "block5": 0.8148, "modulation": 0.8275, "block3": 0.8298,
    "block2": 0.8262, "projection": 0.8279,
}  # fmt: skip
ADDITIONAL_20 = {
    "modulation": "10k", "csn": "3k", "independent": "51M", "shared": "0", "ib_wide": "1.3M", "ib_narrow": "128k",
    "only_mask": "10k",
}  # fmt: skip
# Table 6, UT-Zappos50K: class, closure, gender, heel, and their mean.
SHOES = {"shared": 0.7546, "independent": 0.8661, "csn": 0.8673, "modulation": 0.8817}
# Table 1: smile, open mouth (related to smile), young (not); per arm the three accuracies, NaN where not trained.
TOY = {
    "shared": (0.8471, 0.7473, 0.716), "shared unrelated": (0.8385, None, 0.7471),
    "shared related": (0.9172, 0.9265, None), "independent": (0.9332, 0.9440, 0.8490),
    "modulation": (0.9403, 0.9531, 0.8620), "regularised": (0.9494, 0.9558, 0.8775),
}  # fmt: skip
# Table 1: UCR of the unrelated pair and of the related one, each trained alone in a shared network; with modulation.
TOY_COMPLIANCE = {"shared": (0.221, 0.4371), "modulation": (0.5063, 0.5277)}
# Section 3.3: mean and variance of the differences of the masks, unrelated and related pair.
TOY_DISTANCES = {"unrelated": (0.24, 0.047), "related": (0.18, 0.03)}
# Table 4: the pairs' UCR, modulated and shared, upper triangle row by row (smile, oval face, shadow, bald, arched
# eyebrows, big lips, big nose). The paper prints 54.83 / 49.49 and 46.49, 67.82 and 67.70 for one pair: the first.
COMPLIANCE_MODULATED = (
    51.56, 67.70, 67.82, 52.32, 54.83, 58.72, 67.36, 64.99, 57.86, 57.74, 54.98, 91.67, 66.87, 72.51, 69.90, 61.74,
    67.60, 72.66, 58.86, 50.34, 55.20,
)  # fmt: skip
COMPLIANCE_SHARED = (
    48.47, 26.33, 32.30, 45.40, 49.49, 45.25, 26.94, 35.29, 50.13, 49.32, 46.64, 30.54, 26.48, 28.25, 29.99, 31.67,
    36.22, 41.04, 51.13, 41.43, 46.84,
)  # fmt: skip
