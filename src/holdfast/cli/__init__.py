"""The command line: `holdfast …`. Only the entry point is here, so that `--help` answers at once."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process and exit with its status."""
    from holdfast.cli.program import run

    sys.exit(run(sys.argv[1:]))
