"""Machines as far as the network goes: a namespace for each, with a cable to this one and no other."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.testing.servers.base import HOST
from holdfast.testing.servers.programs import find_program

NETWORK = "10.203.0.0/16"


@dataclass(frozen=True)
class Machine:
    """A place to run programs in."""

    within: Sequence[str]
    """What comes before a command to run it there."""
    gateway: str
    """Where it reaches the servers of this machine."""

    def reach(self, url: str) -> str:
        """Return the URL of a server of this machine as it is known there."""
        return url.replace(HOST, self.gateway)


LOOPBACK = Machine(within=(), gateway=HOST)


@contextlib.contextmanager
def machines(count: int) -> Iterator[list[Machine] | None]:
    """Give so many machines that do not reach each other; None where this user may make none."""
    ip = find_program("ip")
    if ip is None or os.geteuid() != 0:
        yield None
        return
    with contextlib.ExitStack() as stack:
        try:
            made = [stack.enter_context(_machine(ip, number)) for number in range(count)]
        except subprocess.CalledProcessError:
            # Root in a container without the right to make networks.
            made = None
        yield made


@contextlib.contextmanager
def _machine(ip: str, number: int) -> Iterator[Machine]:
    name, cable = f"holdfast-{os.getpid()}-{number}", f"hf{os.getpid() % 100_000}-{number}"
    # A network of its own for each run; the third number tells the runs of a machine apart.
    network = f"{NETWORK.removesuffix('.0.0/16')}.{os.getpid() % 120 * 2 + number}"
    run = _Runner(ip)
    run("netns", "add", name)
    try:
        run("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("address", "add", f"{network}.1/24", "dev", cable)
        run("link", "set", cable, "up")
        run("-netns", name, "address", "add", f"{network}.2/24", "dev", "eth0")
        run("-netns", name, "link", "set", "eth0", "up")
        run("-netns", name, "link", "set", "lo", "up")
        yield Machine(within=(ip, "netns", "exec", name), gateway=f"{network}.1")
    finally:
        # The cable goes with it.
        run("netns", "delete", name)


class _Runner:
    def __init__(self, ip: str) -> None:
        self._ip = ip

    def __call__(self, *arguments: str) -> None:
        subprocess.run((self._ip, *arguments), check=True, capture_output=True)
