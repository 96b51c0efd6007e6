"""Modulation of a retrieval network on many attributes, after [Modulation].

python -m examples.modulation attributes|toy|depth|tasks|footwear|inference
"""
