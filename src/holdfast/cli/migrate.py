"""`holdfast migrate`: bring the store to this release's schema."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.session import session_of

if TYPE_CHECKING:
    from holdfast.settings import Settings

_SQLITE = "sqlite:///"


def migrate(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Bring the store to this release's schema; safe while workers are running."""
    from holdfast.cli import console
    from holdfast.wiring import run_async

    session = session_of(context)
    session.need_store()
    before, after = run_async(_migrate(session.settings))
    if as_json:
        console.print_json({"store": session.settings.store_shown, "from": before, "to": after})
        return
    words = (
        f"is at schema {after} already"
        if before == after
        else f"went from schema {before or 'none'} to {after}"
    )
    sys.stdout.write(f"{session.settings.store_shown} {words}\n")


def store_file(settings: "Settings") -> Path | None:
    """Return the SQLite file of the store; None for other stores."""
    url = settings.store_url
    return Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else None


async def _schema_found(settings: "Settings") -> str | None:
    """Return the schema that the store has now, None when there is none yet.

    Raises:
        ConfigError, StoreError, SchemaVersionError: It cannot be used by this release.
    """
    from holdfast.errors import SchemaVersionError
    from holdfast.store import open_store
    from holdfast.store.connection import Reader
    from holdfast.store.versions import NO_SCHEMA, read_version

    path = store_file(settings)
    if path is None:
        try:
            # A server's database of an older release is refused unless it may be migrated; one
            # without tables is filled.
            store = await open_store(settings.store_url)
        except SchemaVersionError as error:
            if error.newer:
                raise
            return error.found
        try:
            return None if store.created else (await store.inspect()).schema
        finally:
            await store.close()
    if not _has_content(path):
        return None
    reader = Reader(str(path))
    try:
        found = await reader.read(lambda connection: read_version(connection, str(path)))
    finally:
        await reader.close()
    return None if found == NO_SCHEMA else found


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


async def _migrate(settings: "Settings") -> tuple[str | None, str]:
    from holdfast.store import open_store

    before = await _schema_found(settings)
    path = store_file(settings)
    if path is not None:
        _make_folder(path)
    # Opening a store brings it to the release's schema; one process does it, the others wait.
    store = await open_store(settings.store_url, migrate=True)
    try:
        return before, (await store.inspect()).schema
    finally:
        await store.close()


def _make_folder(path: Path) -> None:
    from holdfast.errors import ConfigError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"folder {str(path.parent)!r} of the store cannot be made: {error.strerror}",
            hint="set HOLDFAST_HOME or HOLDFAST_STORE to a place this user can write to",
        ) from None
