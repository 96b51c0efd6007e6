"""What the paper reports on the image sets, and what has to be said beside it [Selective table 6]."""

from __future__ import annotations

# Top-1 in %; of Omniglot the paper gives error rates, .34 to .24, here 100 - 100 x error.
PAPER = {
    "mnist": {
        "single_task": 98.0,
        "unmerged": 96.8,
        "similarity": 99.0,
        "dissimilarity": 96.9,
        "variance": 98.6,
        "random": 94.2,
        "cross_stitch": 98.4,
    },
    "cifar10": {
        "single_task": 92.6,
        "unmerged": 90.3,
        "similarity": 92.7,
        "dissimilarity": 90.1,
        "variance": 91.0,
        "random": 91.1,
        "cross_stitch": 92.1,
    },
    "omniglot": {
        "single_task": 66.0,
        "unmerged": 71.0,
        "similarity": 76.0,
        "dissimilarity": 67.0,
        "variance": 72.0,
        "random": 72.0,
    },
}
REMARKS = {
    "mnist": "The paper's accuracies are of one run each, as far as it says.",
    "cifar10": "The paper's accuracies are of one run each, as far as it says, and of VGG-16 at full width; it calls "
    "them means per class.",
    "omniglot": "The paper names 50 alphabets apart and reports error rates (here 100 - 100 x error); eight alphabets "
    "are here, so the numbers cannot be compared, only the order of the arms.",
}
