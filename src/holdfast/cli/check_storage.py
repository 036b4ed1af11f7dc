"""Where files are kept: can they be written, and is there room?"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.artifacts import artifacts_of
from holdfast.cli.finding import Finding
from holdfast.cli.wording import size
from holdfast.clock import SystemClock
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.settings import Settings

_AREA = "storage"
_FREE_BYTES_LOW = 1_000_000_000
_FREE_BYTES_MIN = 100_000_000


async def artifacts(settings: Settings) -> Finding:
    """Say whether artifacts can be kept where the settings want them."""
    if "://" not in settings.artifacts_url:
        return folder("artifacts", Path(settings.artifacts_url), "HOLDFAST_ARTIFACTS")
    try:
        store = artifacts_of(settings, SystemClock())
        await store.check()
    except HoldfastError as error:
        return Finding(_AREA, "artifacts", "problem", error.message, error.hint)
    return Finding(_AREA, "artifacts", "ok", f"{settings.artifacts_url} · written, read and deleted")


def folder(name: str, path: Path, setting: str) -> Finding:
    """Say whether a folder can be written to and has room."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as probe:
            probe.write(b"probe")
            probe.flush()
        free = shutil.disk_usage(path).free
    except OSError as error:
        return Finding(
            _AREA,
            name,
            "problem",
            f"{path} cannot be written: {error.strerror or error}",
            f"set {setting} to a folder of yours",
        )
    told = f"{path} · {size(free)} free"
    if free < _FREE_BYTES_MIN:
        return Finding(_AREA, name, "problem", told, "free disk space: results could not be stored")
    if free < _FREE_BYTES_LOW:
        return Finding(_AREA, name, "warning", told, "free disk space soon")
    return Finding(_AREA, name, "ok", told)
