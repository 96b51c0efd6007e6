"""The page on which utility weights are tried by hand: its rows, its requests, its weights, and how it is put together.

from galleryrank.explore_page import page_html, read_choices, read_rows, shown_requests

rows = read_rows(ranker, dataset, "tune")                              # at most 100,000, whole requests
choices = read_choices(ranker, tuning_folder)                          # weights to begin with, guardrails, the cloud
shown = shown_requests(rows, dataset, "tune", count=12)                # the requests whose candidates are looked at
html = page_html(rows, choices, shown)
"""

from galleryrank.explore_page.choices import Choices, read_choices
from galleryrank.explore_page.options import PageOptions, attempt
from galleryrank.explore_page.page import page_html
from galleryrank.explore_page.photos import Thumbnails, read_thumbnails
from galleryrank.explore_page.roles import default_role
from galleryrank.explore_page.rows import PageRows, read_rows
from galleryrank.explore_page.shown import ShownRequest, shown_requests

__all__ = [
    "Choices",
    "PageOptions",
    "PageRows",
    "ShownRequest",
    "Thumbnails",
    "attempt",
    "default_role",
    "page_html",
    "read_choices",
    "read_rows",
    "read_thumbnails",
    "shown_requests",
]
