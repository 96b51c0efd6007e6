"""Modulation and sharing where they are to pay: in the ranker and in the gallery encoder (docs/many_tasks.md)."""
