"""From arrays to metrics.json: heads, calibration, slices, the gate, and the schema of it all.

evaluating                   evaluate_predictions, one call per evaluated model
summary_parts                heads and reliability
summary_sections             gate, slices, requests, segments, drift, implications
ranking_comparisons          other models, the logged position; utility_metrics the utility as a score
metrics_schema               the layout as a JSON Schema
"""
