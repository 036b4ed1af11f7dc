"""Statements on keys to the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import InvalidInputError
from holdfast.store.rows import encode_json, micros, moment, optional_moment
from holdfast.store.service import KEYS_MAX, ApiKey

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.store.rows import Row
    from holdfast.store.transaction import Connection, Transaction

_SQL = "key_id, name, digest, tenant, kinds, actions, created_at, expires_at, revoked_at"
_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode


def insert_key(tx: Transaction, key: ApiKey) -> None:
    """See `ServiceStore.insert_key`."""
    tx.serialize("keys")
    count = tx.execute("SELECT COUNT(*) FROM api_keys WHERE revoked_at IS NULL").fetchone()[0]
    if count >= KEYS_MAX:
        raise InvalidInputError(
            f"key {key.name!r} would be one of more than {KEYS_MAX:,} in force",
            hint="revoke those that nobody uses",
        )
    written = tx.execute(
        f"INSERT INTO api_keys ({_SQL}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            *(key.key_id, key.name, key.digest, key.tenant),
            *(None if key.kinds is None else encode_json(key.kinds), encode_json(key.actions)),
            *(micros(key.created_at), key.expires_at and micros(key.expires_at), None),
        ),
    )
    if not written.rowcount:
        raise InvalidInputError(f"key id {key.key_id!r} is taken", hint="make another key")


def find_key(connection: Connection, key_id: str) -> ApiKey | None:
    """See `ServiceStore.find_key`."""
    row = connection.execute(f"SELECT {_SQL} FROM api_keys WHERE key_id = ?", (key_id,)).fetchone()
    return None if row is None else _key_from(row)


def list_keys(connection: Connection) -> list[ApiKey]:
    """See `ServiceStore.list_keys`."""
    rows = connection.execute(
        f"SELECT {_SQL} FROM api_keys WHERE revoked_at IS NULL ORDER BY created_at, key_id"
    )
    return [_key_from(row) for row in rows]


def revoke_key(tx: Transaction, key_id: str, at: datetime) -> bool:
    """See `ServiceStore.revoke_key`."""
    written = tx.execute(
        "UPDATE api_keys SET revoked_at = ? WHERE key_id = ? AND revoked_at IS NULL",
        (micros(at), key_id),
    )
    return bool(written.rowcount)


def _key_from(row: Row) -> ApiKey:
    key_id, name, digest, tenant, kinds, actions, created_at, expires_at, revoked_at = row
    return ApiKey(
        key_id=key_id,
        name=name,
        digest=bytes(digest),
        tenant=tenant,
        kinds=None if kinds is None else _decode_names(kinds),
        actions=_decode_names(actions),
        created_at=moment(created_at),
        expires_at=optional_moment(expires_at),
        revoked_at=optional_moment(revoked_at),
    )
