"""`python -m holdfast.apps.reports.render NAME` runs one step; see `steps`."""

import sys

from holdfast.apps.reports.render.steps import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
