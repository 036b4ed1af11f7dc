"""Looks names up in a few threads, so that one that hangs leaves the others theirs."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.webhooks.addresses import Address

    Resolve = Callable[[str, int], Sequence[Address]]
    """Gives the addresses of a name and port; none if it has none. May block."""

THREADS = 16
"""Of their own: a name server that hangs must not hold up the steps of jobs."""


class Lookups:
    """Looks names up; a name takes one thread, however many wait for it."""

    def __init__(self, resolve: Resolve | None = None) -> None:
        """Use `resolve`, or the machine's own way."""
        self._resolve = resolve or addresses_of
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="holdfast-lookup")
        self._free = asyncio.Semaphore(THREADS)
        self._begun: dict[tuple[str, int], asyncio.Future[Sequence[Address]]] = {}

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def begin(self, host: str, port: int) -> asyncio.Future[Sequence[Address]]:
        """Wait for a thread, and return what it will find; it is shared, so wait for it by a shield."""
        place = host, port
        if place not in self._begun:
            await self._free.acquire()
            if place in self._begun:
                # Somebody else has begun it meanwhile.
                self._free.release()
            else:
                loop = asyncio.get_running_loop()
                self._begun[place] = loop.run_in_executor(self._threads, self._resolve, *place)
                self._begun[place].add_done_callback(lambda _: self._end(place))
        return self._begun[place]

    def _end(self, place: tuple[str, int]) -> None:
        del self._begun[place]
        self._free.release()


def addresses_of(host: str, port: int) -> Sequence[Address]:
    """Return the addresses that the machine knows the name by."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        return ()
    return list(dict.fromkeys(ip_address(place[0]) for *_, place in found))
