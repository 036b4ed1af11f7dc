"""The service's own secrets: from the settings, or made once and kept in the home folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.errors import ConfigError
from holdfast.ids import new_secret

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.settings import Settings

SECRET_CHARACTERS_MIN = 32


def secrets_of(settings: Settings) -> tuple[str, ...]:
    """Return the secrets that sign tokens and sessions, the one in use first.

    Raises:
        ConfigError: None is set and there is no home folder to keep one in, or one is too short.
    """
    if settings.secret is not None:
        found = tuple(
            one.strip() for one in settings.secret.get_secret_value().split(",") if one.strip()
        )
        if not found or min(map(len, found)) < SECRET_CHARACTERS_MIN:
            raise ConfigError(
                f"a secret in HOLDFAST_SECRET is shorter than {SECRET_CHARACTERS_MIN} characters",
                hint="make one, e.g. with 'openssl rand -base64 32'",
            )
        return found
    if not settings.uses_home:
        raise ConfigError(
            "no secret is set to sign tokens and sessions with, and there is no home folder to keep one",
            hint="set HOLDFAST_SECRET, to the same value in every process that serves",
        )
    try:
        return (_kept(settings.home / "secret"),)
    except OSError as error:
        raise ConfigError(
            f"the secret in home folder {str(settings.home)!r} cannot be read or made: {error.strerror}",
            hint="set HOLDFAST_HOME to a folder this user can write to, or HOLDFAST_SECRET",
        ) from error


def _kept(path: Path) -> str:
    """Return the secret in the file; make it if there is none. Two processes at once agree on one."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(new_secret("secret", 52) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        # Unlike a rename, this fails where another process was first.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text().strip()
