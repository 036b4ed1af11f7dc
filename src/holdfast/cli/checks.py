"""What `doctor` looks at. A check never raises: whatever goes wrong is its finding."""

from __future__ import annotations

import asyncio
import platform
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING

from holdfast.cli.check_broker import broker
from holdfast.cli.check_sealing import sealing
from holdfast.cli.check_storage import artifacts, folder
from holdfast.cli.finding import Finding
from holdfast.cli.wording import counted
from holdfast.clock import SystemClock
from holdfast.errors import HoldfastError
from holdfast.store.service import DELIVERY_KIND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.cli.session import Session
    from holdfast.settings import Settings
    from holdfast.store.base import StoreReport, WorkerRecord

_UNTOLD = Finding(
    "storage",
    "webhooks",
    "warning",
    f"no worker serves the queue {DELIVERY_KIND!r}, so webhooks are told nothing",
    f"add {DELIVERY_KIND} to --queues of a worker, or start one without --queues",
)

_CLOCK_FROM = datetime(2026, 1, 1, tzinfo=UTC)
_CLOCK_UNTIL = datetime(2100, 1, 1, tzinfo=UTC)


async def run_checks(session: Session, *, offline: bool) -> list[Finding]:
    """Return all findings in the order of reading."""
    findings = list(_machine())
    try:
        settings = session.settings
    except HoldfastError as error:
        return [*findings, _failed("settings", "environment", error)]
    findings += [_application(session, settings), *_products(settings)]
    findings.append(folder("home folder", settings.home, "HOLDFAST_HOME"))
    findings.append(await artifacts(settings))
    findings.append(await broker(settings))
    findings += await _store(settings)
    from holdfast.cli.check_components import components
    from holdfast.cli.check_provider import provider
    from holdfast.cli.check_service import service
    from holdfast.cli.check_shop import shop

    findings += await service(settings)
    findings += await provider(settings, offline=offline)
    findings += await asyncio.to_thread(components)
    findings += await shop(settings, offline=offline)
    return findings


def _failed(area: str, name: str, error: HoldfastError) -> Finding:
    return Finding(area, name, "problem", error.message, error.hint)


def _machine() -> Iterator[Finding]:
    version = platform.python_version()
    # An older Python could not even have imported this.
    told = f"{version} on {platform.system()} {platform.machine()}"
    yield Finding("machine", "Python", "ok", told)
    yield Finding("machine", "Holdfast", "ok", metadata.version("holdfast"))
    now = SystemClock().now()
    if _CLOCK_FROM <= now < _CLOCK_UNTIL:
        yield Finding("machine", "clock", "ok", f"{now:%Y-%m-%d %H:%M:%S} UTC")
    else:
        yield Finding(
            "machine",
            "clock",
            "problem",
            f"{now:%Y-%m-%d %H:%M:%S} UTC cannot be right",
            "set the machine's clock; leases and retries depend on it",
        )


def _application(session: Session, settings: Settings) -> Finding:
    name = settings.app or "built-in reports"
    try:
        app = session.application()
    except HoldfastError as error:
        return _failed("settings", "application", error)
    except Exception as error:  # noqa: BLE001 - foreign code may raise anything at import
        return Finding(
            "settings",
            "application",
            "problem",
            f"{name} cannot be loaded: {type(error).__name__}: {error}",
            "mend the module, or choose another one with --app",
        )
    kinds = ", ".join(app.registry.names)
    if not kinds:
        return Finding(
            "settings",
            "application",
            "warning",
            f"{name} registers no kind of job",
            "import the modules that define its jobs",
        )
    return Finding("settings", "application", "ok", f"{name}: {kinds}")


def _products(settings: Settings) -> Iterator[Finding]:
    if settings.app:
        return
    from holdfast.apps.reports.terms import load_terms

    try:
        terms = load_terms(settings.reports)
    except HoldfastError as error:
        yield _failed("settings", "products", error)
        return
    told = ", ".join(f"{kind} ${found.price_usd}" for kind, found in terms.items())
    yield Finding("settings", "products", "ok", told)


async def _store(settings: Settings) -> list[Finding]:
    from holdfast.store import open_store

    try:
        store = await open_store(settings.store_url)
        try:
            report = await store.inspect()
            told = await store.service.list_webhooks(limit=1)
            sealed = await sealing(settings, store)
        finally:
            await store.close()
    except HoldfastError as error:
        return [_failed("storage", "store", error)]
    shown = f"{settings.store_shown} · schema {report.schema}"
    findings = [Finding("storage", "store", "ok", shown), sealed]
    if settings.sqlite_synchronous != "FULL":
        findings.append(
            Finding(
                "storage",
                "durability",
                "warning",
                "commits may be lost at a power failure",
                "set HOLDFAST_SQLITE_SYNCHRONOUS=FULL",
            )
        )
    findings += [look(report) for look in _STORE_LOOKS]
    if told and _leaves_webhooks_out(report):
        findings.append(_UNTOLD)
    return findings


def _jobs(report: StoreReport) -> Finding:
    counts = ", ".join(f"{count:,} {status}" for status, count in report.jobs.items() if count)
    return Finding("storage", "jobs", "ok", counts or "none yet")


def _alive(report: StoreReport) -> list[WorkerRecord]:
    now = SystemClock().now()
    return [record for record, expires_at in report.workers if expires_at > now]


def _workers(report: StoreReport) -> Finding:
    alive = _alive(report)
    gone = len(report.workers) - len(alive)
    waiting = sum(report.jobs.get(status, 0) for status in ("queued", "running"))  # type: ignore[call-overload]
    if not alive and waiting:
        return Finding(
            "storage",
            "workers",
            "warning",
            f"none, and {counted(waiting, 'job')} to run",
            "start one with 'holdfast worker', or run the report's command again",
        )
    words = ", ".join(f"{one.host} pid {one.pid} ({one.running} of {one.slots} slots)" for one in alive)
    lost = f"; {counted(gone, 'lost worker')} to be cleared" if gone else ""
    return Finding("storage", "workers", "ok", (words or "none, and nothing to run") + lost)


def _leaves_webhooks_out(report: StoreReport) -> bool:
    """Whether there are workers, and none of them serves the queue of deliveries."""
    queues = [record.queues for record in _alive(report)]
    return bool(queues) and all(names is not None and DELIVERY_KIND not in names for names in queues)


def _lanes(report: StoreReport) -> Finding:
    now = SystemClock().now()
    held = [lane for lane in report.lanes if lane.held_until is not None and lane.held_until > now]
    if held:
        words = "; ".join(
            f"{lane.lane} is held until {lane.held_until:%H:%M} UTC ({lane.held_reason})"
            for lane in held
        )
        return Finding(
            "storage", "lanes", "problem", words, "check the account's quota and key at the provider"
        )
    if not report.lanes:
        return Finding("storage", "lanes", "ok", "none used yet")
    words = ", ".join(
        f"{lane.lane} at {lane.rate_factor:.0%} of {lane.requests_per_minute:,.0f} requests a minute"
        for lane in report.lanes
    )
    return Finding("storage", "lanes", "ok", words)


_STORE_LOOKS: tuple[Callable[[StoreReport], Finding], ...] = (_jobs, _workers, _lanes)
