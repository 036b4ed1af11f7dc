"""How large a soak is, and what belongs on its stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.apps.reports import write_report_sample
from holdfast.apps.reports.orders.models import ORDERS_QUEUE
from holdfast.settings import Settings
from holdfast.testing.chaos.fleet import Post
from holdfast.testing.chaos.stage import Scene
from holdfast.testing.provider import ProviderBehaviour, ProviderSimulator
from holdfast.testing.servers.base import HOST
from holdfast.testing.stripe import API_KEY, WEBHOOK_SECRET
from holdfast.wiring import default_app

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

QUEUES = (
    "reports.life_clarity",
    "reports.personal_blueprint",
    "reports.personal_horoscope",
    f"{ORDERS_QUEUE},reports.bundle,holdfast.webhook",
)
"""What each of four workers serves; kinds that only start others and wait are together."""

SECRET = "a secret of soaks that is long enough"  # noqa: S105 - of a service for tests

FIRST_TOKEN_SECONDS = 0.5
TOKENS_PER_SECOND = 100.0
REQUESTS_PER_MINUTE = 1_000.0
TOKENS_PER_MINUTE = 4_000_000.0
"""Of the provider, in its own time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How large a run is; times in seconds."""

    broker: str = "redis"
    """See `Scene`."""
    orders: int = 100
    """Mixed ones, while processes are killed."""
    seconds: float = 300.0
    """Within which they come."""
    workers: int = 4
    kill_every: float = 10.0
    probes: int = 5
    """Single `life_clarity` orders on the idle fleet, and as many again while horoscopes run."""
    horoscopes: int = 3
    """How many of those run beside the probes."""
    days: int = 21
    """Of a horoscope; a whole one has 365."""
    answers: int = 4
    """For each period of a horoscope; a whole one has 20."""
    speed: float = 1.0
    """How many times faster than a real one the provider is."""
    concurrency: int = 20
    """Jobs that each worker runs at once."""
    lease_seconds: float = 10.0
    drain_grace_seconds: float = 15.0
    still_seconds: float = 400.0
    """How long nothing may move while jobs are left: an e-mail that was turned away twice waits."""
    trouble: bool = False
    """Whether servers are restarted and workers stopped, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """Where the shop is, and what it is led to."""

    port: int
    stripe_url: str
    smtp_url: str

    @property
    def url(self) -> str:
        """Of its pages."""
        return f"http://{HOST}:{self.port}"


def scene_of(options: Options, shop: Shop, folder: Path) -> Scene:
    """Return what belongs on the stage: the service, and workers with queues of their own."""
    terms = folder / "terms.toml"
    terms.write_text(
        f"[personal_horoscope.writing]\ndays = {options.days}\nanswers_per_period = {options.answers}\n"
    )
    selling = _selling(shop)
    service = Post(
        name="service",
        command=("serve", "--no-worker", "--port", str(shop.port)),
        environment=selling,
    )
    return Scene(
        broker=options.broker,
        provider=ProviderSimulator(
            ProviderBehaviour(
                rpm=REQUESTS_PER_MINUTE,
                tpm=TOKENS_PER_MINUTE,
                first_token_seconds=FIRST_TOKEN_SECONDS,
                tokens_per_second=TOKENS_PER_SECOND,
                time_scale=options.speed,
            ),
            writer=write_report_sample,
            journal_path=folder / "provider.jsonl",
        ),
        registry=default_app(Settings(provider="scripted")).registry,
        posts=[*_workers(options, selling), service],
        lease_seconds=options.lease_seconds,
        drain_grace_seconds=options.drain_grace_seconds,
        environment={
            "HOLDFAST_REPORTS": str(terms),
            "HOLDFAST_REQUESTS_PER_MINUTE": str(REQUESTS_PER_MINUTE * options.speed),
            "HOLDFAST_TOKENS_PER_MINUTE": str(TOKENS_PER_MINUTE * options.speed),
        },
    )


def _workers(options: Options, selling: Mapping[str, str]) -> Iterator[Post]:
    for number in range(options.workers):
        queues = ",".join(QUEUES[number % len(QUEUES) :: options.workers])
        yield Post(
            name=f"worker {number}",
            command=("worker", "--queues", queues, "--concurrency", str(options.concurrency)),
            # The others need to know nothing of orders.
            environment=selling if ORDERS_QUEUE in queues else {},
        )


def _selling(shop: Shop) -> Mapping[str, str]:
    """Return the variables of processes that sell, or serve orders."""
    return {
        "HOLDFAST_SHOP": "live",
        "HOLDFAST_SECRET": SECRET,
        "HOLDFAST_PUBLIC_URL": shop.url,
        "HOLDFAST_STRIPE_API_KEY": API_KEY,
        "HOLDFAST_STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "HOLDFAST_STRIPE_API_BASE": shop.stripe_url,
        "HOLDFAST_SMTP_URL": shop.smtp_url,
        "HOLDFAST_MAIL_FROM": "Holdfast Reports <reports@shop.example.com>",
    }
