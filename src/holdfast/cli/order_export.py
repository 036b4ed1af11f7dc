"""A folder of all that is on record of a customer; memory is bounded by one page of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.apps.reports.orders.customers import order_record
from holdfast.apps.reports.orders.finding import orders_of
from holdfast.apps.reports.orders.models import customer_of
from holdfast.cli.export import add_jobs
from holdfast.cli.files import replacing
from holdfast.errors import InvalidInputError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path
    from typing import IO

    from holdfast.apps.reports.orders.shop import Shop


async def write_customer(shop: Shop, email: str, folder: Path) -> tuple[int, int]:
    """Write `orders.json`, `jobs/JOB_ID.json` and `files/JOB_ID/NAME`; only their owner can read them.

    Returns:
        How many orders and jobs there are.

    Raises:
        InvalidInputError: The folder holds something, or cannot be made.
        ArtifactError: A file cannot be written, or a file of a job not be read.
        SealedValueError: Something was sealed by a key that is not set here.
    """
    _make_empty(folder)
    subject = customer_of(email)
    records = [order_record(order) async for order in orders_of(shop, subject)]
    with replacing(folder / "orders.json", private=True) as file:
        text = msgspec.json.encode(records, enc_hook=str)
        file.write(msgspec.json.format(text, indent=2) + b"\n")

    def entry(name: str, _: datetime) -> AbstractContextManager[IO[bytes]]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return replacing(path, private=True)

    jobs = await add_jobs(shop.client, subject, entry, files=True)
    return len(records), jobs


def _make_empty(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        holds = next(folder.iterdir(), None)
    except OSError as error:
        raise InvalidInputError(
            f"folder {str(folder)!r} cannot be used: {error.strerror}", hint="choose another folder"
        ) from None
    if holds is not None:
        raise InvalidInputError(
            f"folder {str(folder)!r} is not empty", hint="choose one that is new, for one customer alone"
        )
