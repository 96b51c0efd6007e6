"""From arrays to metrics.json: heads, calibration, slices, the gate, and the schema of it all.

evaluating                   evaluate_predictions, one call per evaluated model
summary_parts                heads and reliability
summary_sections             gate, slices, requests, calibration tests, segments, drift
ranking_comparisons          the utility, other models, the logged position
metrics_schema               the layout as a JSON Schema
"""
