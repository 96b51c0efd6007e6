"""A metric in every part of the rows: how rows are cut, one sort for all parts, and what stands behind each number.

slices, slice_columns        which slice each row is in, from values or from columns of a data set
value_names                  how values are written where they name a slice
sliced_order, slice_counts   one sort per head, and the rows, positives and requests of each slice
sliced_influences            any metric in every slice, with its influence per request
sliced_metrics               the table; sliced_figure its picture, sliced_decomposition its Brier scores
"""
