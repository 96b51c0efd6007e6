"""Selective Sharing on the paper's data: which tasks share a branch, and what that costs or brings.

python -m examples.selective_sharing mnist|cifar10|omniglot|heterogeneous|ranking|capture
"""
