"""Stores with a defect each, to prove that the simulation would find it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from holdfast.model import Checkpoint, Lease
from holdfast.store.base import CallOutcome, ClaimRequest, NewEvent
from holdfast.testing.simulation import FaultKind
from holdfast.testing.simulation.store import InlineStore


class Broken(InlineStore):
    """A store with a defect."""

    needs: tuple[FaultKind, ...] = ()
    """What has to go wrong for the defect to show; nothing in particular by default."""


class Unfenced(Broken):
    """Lets whoever asks write under the epoch that is valid now."""

    needs = (FaultKind.PAUSE,)

    def _present(self, lease: Lease) -> Lease:
        ((epoch,),) = self.look(f"SELECT epoch FROM jobs WHERE id = {lease.row:d}")
        return replace(lease, epoch=epoch)

    async def begin_step(self, lease: Lease, *args: Any) -> Any:
        return await super().begin_step(self._present(lease), *args)

    async def put_checkpoint(self, lease: Lease, *args: Any) -> Any:
        return await super().put_checkpoint(self._present(lease), *args)

    async def append_events(self, lease: Lease, *args: Any) -> Any:
        return await super().append_events(self._present(lease), *args)

    async def reserve_call(self, lease: Lease, *args: Any) -> Any:
        return await super().reserve_call(self._present(lease), *args)

    async def settle_call(self, lease: Lease, *args: Any) -> Any:
        return await super().settle_call(self._present(lease), *args)

    async def settle_attempt(self, lease: Lease, *args: Any) -> Any:
        return await super().settle_attempt(self._present(lease), *args)


class Forgetful(Broken):
    """Acknowledges every fifth checkpoint without storing it."""

    stored = 0

    async def put_checkpoint(
        self, lease: Lease, checkpoint: Checkpoint, events: Sequence[NewEvent]
    ) -> None:
        self.stored += 1
        if self.stored % 5:
            await super().put_checkpoint(lease, checkpoint, events)


class Unlocked(Broken):
    """Rescues jobs and leaves their epoch as it was, so that both owners hold a valid lease."""

    needs = (FaultKind.PAUSE,)

    async def claim_jobs(self, request: ClaimRequest) -> Any:
        claims = list(await super().claim_jobs(request))
        for number, claim in enumerate(claims):
            if claim.job.lost_workers:
                self._connection.execute(
                    "UPDATE jobs SET epoch = epoch - 1 WHERE id = ?", (claim.lease.row,)
                )
                lease = replace(claim.lease, epoch=claim.lease.epoch - 1)
                claims[number] = replace(claim, lease=lease)
        return claims


class Idle(Broken):
    """Never rescues anybody."""

    needs = (FaultKind.CRASH,)

    async def rescue_jobs(self, dead: Sequence[str] = (), *, spare: str = "") -> Any:
        return []


class Careless(Broken):
    """Books twice what is booked again after a lost answer."""

    needs = (FaultKind.UNANSWERED,)

    async def settle_call(self, lease: Lease, call_id: str, outcome: CallOutcome) -> None:
        self._connection.execute(
            "UPDATE calls SET status = 'reserved' WHERE call_id = ? AND status = 'settled'", (call_id,)
        )
        await super().settle_call(lease, call_id, outcome)


BROKEN: tuple[type[Broken], ...] = (Unfenced, Forgetful, Unlocked, Idle, Careless)
