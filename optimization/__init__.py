"""Which utility weights: the room for the tuning objective, guardrails, the Ax study and online rounds.

It imports from `ranking` and `evaluation`; nothing below imports from it.
"""

from _galleryrank_siblings import require_siblings

require_siblings(__file__)
