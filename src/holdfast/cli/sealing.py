"""`holdfast sealing`: keys for sealing data at rest."""

import sys
from typing import Annotated

import typer


def print_new_key(
    *,
    key_id: Annotated[
        str,
        typer.Option(
            "--id", metavar="ID", help="Name of the key; taken from the key's hash by default."
        ),
    ] = "",
) -> None:
    """Print a fresh key for HOLDFAST_SEALING_KEYS; it is kept nowhere."""
    from holdfast.sealing import new_key

    sys.stdout.write(f"{new_key(key_id)}\n")
