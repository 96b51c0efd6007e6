"""`python -m galleryrank` is the `galleryrank` command."""

import sys

from galleryrank.cli import main

sys.exit(main())
