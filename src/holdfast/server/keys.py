"""Keys over HTTP: nobody can hand on more than they have."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from holdfast.errors import AccessDeniedError, KeyNotFoundError
from holdfast.server import access, examples
from holdfast.server.access import Action
from holdfast.server.auth import Admin
from holdfast.server.problems import NOT_FOUND, ProblemRoute
from holdfast.server.schemas import Name
from holdfast.server.service import Here
from holdfast.store.service import ApiKey

router = APIRouter(prefix="/keys", tags=["keys"], route_class=ProblemRoute)

_DAYS_MAX = 36_500


class NewKey(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.NEW_KEY]})

    name: Name = Field(description="What people call it.")
    actions: Annotated[list[Action], Field(min_length=1, max_length=len(Action))]
    tenant: Name | None = Field(None, description="The only tenant whose jobs it reaches.")
    kinds: Annotated[list[Name], Field(min_length=1, max_length=1_000)] | None = Field(
        None, description="The only kinds of jobs that it reaches."
    )
    lifetime_days: float | None = Field(
        None, gt=0, le=_DAYS_MAX, allow_inf_nan=False, description="For good if absent."
    )


class KeyView(BaseModel):
    """A key in force; the key itself is on record nowhere."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.KEY]})

    key_id: str
    name: str
    tenant: str | None
    kinds: list[str] | None
    actions: list[str]
    created_at: datetime
    expires_at: datetime | None


class MadeKey(KeyView):
    """A new key, shown only now."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.MADE_KEY]})

    key: str


class KeyList(BaseModel):
    """The keys that are not revoked, oldest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"keys": [examples.KEY]}]})

    keys: list[KeyView]


@router.get("", summary="List keys")
async def list_keys(here: Here, principal: Admin) -> KeyList:
    """Return the keys that allow no more than the caller's own."""
    found = await here.records.list_keys()
    return KeyList(keys=[KeyView(**_fields(key)) for key in found if principal.covers(key)])


@router.post("", status_code=201, summary="Make a key")
async def make_key(asked: NewKey, here: Here, principal: Admin) -> MadeKey:
    """Make a key and show it, for the only time. It can allow no more than the caller's own."""
    key, kept = access.make_key(
        name=asked.name,
        actions=asked.actions,
        at=here.clock.now(),
        tenant=asked.tenant,
        kinds=asked.kinds,
        lifetime=None if asked.lifetime_days is None else timedelta(days=asked.lifetime_days),
    )
    if not principal.covers(kept):
        raise AccessDeniedError(name=principal.name, action="hand on more than it has itself")
    await here.records.insert_key(kept)
    return MadeKey(key=key, **_fields(kept))


@router.delete("/{key_id}", status_code=204, summary="Revoke a key", responses=NOT_FOUND)
async def revoke_key(key_id: str, here: Here, principal: Admin) -> None:
    """Refuse a key from now on."""
    key = await here.records.find_key(key_id) if key_id.isprintable() else None
    if (
        key is None
        or not principal.covers(key)
        or not await here.records.revoke_key(key_id, here.clock.now())
    ):
        raise KeyNotFoundError(key_id=key_id[:80])


def _fields(key: ApiKey) -> dict[str, object]:
    return {name: getattr(key, name) for name in KeyView.model_fields}
