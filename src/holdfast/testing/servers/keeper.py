"""Runs one server and lets none of its processes outlive whoever asked for it.

A program of its own, run by `base.Server` as `python keeper.py folder user command…`.
Its standard input is the leash: a byte is the number of a signal for the server, and its end means that
the process that holds it is gone, however that came about: the server is killed, its folder removed.
"-" stands for a folder that stays, and for no other user.

Why not a parent-death signal: it reaches one process only, is lost when that process changes its
user, and goes off when the *thread* that started it ends. A process group does not do either, because
PostgreSQL's processes and Erlang's daemon leave it. As "subreaper" this program inherits all orphans.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TypedDict

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def main(folder: str, user: str, *command: str) -> int:
    """Run the command until it ends, then end what it left behind; returns its exit code."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    server = subprocess.Popen(  # noqa: S603 - what `base.Server` asks for
        command, stdin=subprocess.DEVNULL, process_group=0, **as_user(user)
    )
    cut = threading.Event()
    threading.Thread(target=obey, args=(server, cut), daemon=True).start()
    code = server.wait()
    end_all(server.pid)
    if cut.is_set() and folder != "-":
        shutil.rmtree(folder, ignore_errors=True)
    return code


class Account(TypedDict):
    """The arguments with which `subprocess` gives up being root; all None: it stays what it is."""

    user: str | None
    group: int | None
    extra_groups: list[int] | None


def as_user(name: str) -> Account:
    """Return the arguments for this user, "-" for no other."""
    if name == "-":
        return Account(user=None, group=None, extra_groups=None)
    return Account(user=name, group=pwd.getpwnam(name).pw_gid, extra_groups=[])


def obey(server: subprocess.Popen[bytes], cut: threading.Event) -> None:
    """Pass on the signals that come over the leash, and kill when it is cut."""
    while order := os.read(0, 1):
        server.send_signal(order[0])
    cut.set()
    server.kill()


def end_all(group: int) -> None:
    """Kill every process that descends from this one and return once they are gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    # What is killed hands its children to this process, so none is missed in the end.
    with contextlib.suppress(ChildProcessError):
        while True:
            for pid in descendants(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)


def descendants(pid: int) -> list[int]:
    """Return the living processes below this one, parents first; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # pid (name) state parent …, and a name may hold spaces and parentheses.
            state, parent, *_ = stat.read_text().rpartition(")")[2].split()
            if state != "Z":  # dead, and only not yet asked for its exit code
                children.setdefault(int(parent), []).append(int(stat.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found[1:]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
