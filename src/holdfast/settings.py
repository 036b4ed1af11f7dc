"""Settings from the environment, checked at start. Read by entry points and wiring only."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

import pydantic
from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from holdfast.codec import describe_invalid
from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME_DEFAULT = Path(".holdfast")

_SHOWABLE = re.compile(
    r"(?P<scheme>[\w+.-]+://)(?:[^@/?]*@)?(?P<place>[^@/?#]*(?:/[^@?]*)?)(?:\?[^@]*)?"
)
"""A URL with its user, password and query apart; an unescaped @ or ? in a password does not fit."""

_overrides: ContextVar[dict[str, Any] | None] = ContextVar("holdfast_settings_overrides", default=None)


class Settings(BaseSettings):
    """Everything that can be set from outside, with what it does.

    URLs may hold a password, and are not in the `repr`.
    """

    model_config = SettingsConfigDict(
        env_prefix="HOLDFAST_", frozen=True, extra="ignore", populate_by_name=True
    )

    home: Path = HOME_DEFAULT
    """Folder of the embedded default: database and artifacts."""
    store: str = Field(default="", repr=False)
    """URL of the store, such as `sqlite:///jobs.db`; empty for `holdfast.db` in the home folder."""
    artifacts: str = Field(default="", repr=False)
    """Folder for artifacts, or `s3://bucket/prefix`; empty for `artifacts` in the home folder."""
    s3_endpoint: str | None = Field(
        default=None,
        repr=False,
        validation_alias=AliasChoices("HOLDFAST_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    )
    """Endpoint of S3-compatible storage; AWS's own by default."""
    s3_public_endpoint: str | None = Field(default=None, repr=False)
    """The same endpoint as browsers reach it, for download links, where that is another one."""
    s3_region: str = Field(
        default="us-east-1",
        validation_alias=AliasChoices("HOLDFAST_S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
    )
    """Region of the bucket."""
    aws_access_key_id: str | None = Field(
        default=None, validation_alias=AliasChoices("AWS_ACCESS_KEY_ID")
    )
    """Name of the key to S3-compatible storage; on AWS a role by default."""
    aws_secret_access_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("AWS_SECRET_ACCESS_KEY")
    )
    """The key's secret part."""
    aws_session_token: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("AWS_SESSION_TOKEN")
    )
    """Goes with a temporary key."""
    sqlite_synchronous: Literal["FULL", "NORMAL"] = "FULL"
    """NORMAL is faster and survives kill -9, but may lose the last commits at a power failure."""
    sealing_keys: SecretStr | None = None
    """Keys that seal what is stored, `id:base64` and separated by commas; the first one seals, all of
    them open. Unset: content is stored in the clear."""
    app: str = ""
    """`module:attribute` of the application whose jobs to run; empty for the built-in reports."""
    reports: Path | None = None
    """TOML file with prices, models, batch sizes, pacing and budgets of the built-in reports, where they
    differ from the shipped ones."""
    shop: Literal["auto", "live", "test", "off"] = "auto"
    """Whether the reports are sold: `live` by Stripe, `test` on a payment page of our own where nobody
    pays anything, `off` not at all. Auto is live with a key and a webhook secret of Stripe's, else
    test where everything is on this machine, store and service, else off."""
    stripe_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("HOLDFAST_STRIPE_API_KEY", "STRIPE_API_KEY")
    )
    """Secret key of the Stripe account that is paid."""
    stripe_webhook_secret: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("HOLDFAST_STRIPE_WEBHOOK_SECRET", "STRIPE_WEBHOOK_SECRET"),
    )
    """Signing secret of the webhook endpoint at Stripe, `whsec_…`; two, separated by a comma, while it
    is rolled."""
    stripe_api_base: str | None = Field(default=None, repr=False)
    """Where Stripe's API is, for tests; Stripe's own by default."""
    smtp_url: SecretStr | None = None
    """Server for e-mail, `smtp://user:password@host:587` (STARTTLS where it is offered) or `smtps://…`.
    Unset: e-mails of a shop in test mode are kept as files in the home folder."""
    mail_from: str = ""
    """Who e-mails are from, such as `Acme Reports <reports@acme.example>`."""
    broker: SecretStr | None = None
    """URL of Redis or RabbitMQ, which then tells workers on any machine of jobs; without, workers look
    into the store."""
    queue_prefix: Annotated[str, Field(max_length=100)] = ""
    """Put before the names of queues in the broker, for several applications on one."""
    concurrency: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Jobs that a worker runs at once."""
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Where a worker serves `/metrics` and `/health/live`; nowhere by default."""
    drain_grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 25.0
    """How long steps in flight may go on after SIGTERM."""
    lease_seconds: Annotated[float, Field(ge=1, le=3600)] = 10.0
    """How long a worker that gives no sign of life keeps its jobs; shorter is quicker to notice a dead
    worker and quicker to take jobs from one that was only held up."""
    host: str = "127.0.0.1"
    """Address that `serve` listens on; anything but loopback asks for keys."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port that `serve` listens on; 0 for any free one."""
    public_url: str = ""
    """Where the service is reached from outside, for links; the address it listens on by default."""
    auth: Literal["auto", "required"] = "auto"
    """Whether every request needs a key; auto lets everybody in on loopback, and only there."""
    secret: SecretStr | None = None
    """Secrets of 32 characters or more that sign tokens and sessions, separated by commas; the first one
    signs, all of them are accepted. Unset: one is made and kept in the home folder."""
    cors_origins: str = ""
    """Origins of web pages that may call the API, separated by commas; none by default."""
    body_bytes_max: Annotated[int, Field(ge=1024, le=64 * 1024**2)] = 1024**2
    """Largest body of a request."""
    client_requests_per_minute: Annotated[int, Field(ge=1)] = 6_000
    """Requests of one key, or of one address without a key, that each server process answers."""
    streams_max: Annotated[int, Field(ge=1)] = 4_000
    """Live streams that each server process keeps open at once; each takes one open file."""
    client_streams_max: Annotated[int, Field(ge=1)] = 2_500
    """How many of them may be of one key, or of one job's tokens."""
    webhook_networks: str = ""
    """Networks of ours that webhooks may lead into, such as `10.1.0.0/16`, separated by commas, there
    without TLS, too; elsewhere only public addresses are told."""
    url: str | None = Field(default=None, repr=False)
    """A running service that the command line speaks to, instead of opening the store itself."""
    api_key: SecretStr | None = None
    """Key to that service."""
    otlp_endpoint: str | None = Field(
        default=None, repr=False, validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT")
    )
    """Collector of OpenTelemetry that `serve` and `worker` send traces to; none by default."""
    otlp_traces_endpoint: str | None = Field(
        default=None, repr=False, validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    )
    """Full URL for traces, where that is another one."""
    otlp_protocol: str = Field(
        default="http/protobuf", validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_PROTOCOL")
    )
    """How the collector is spoken to; there is no other way."""
    keep_days: Annotated[float, Field(gt=0, le=36_500)] | None = None
    """How long jobs whose kind says nothing else are kept once they have ended; always by default."""
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    """Least severe log lines to write."""
    log_format: Literal["text", "json"] = "text"
    """One JSON object a line, or lines for people."""
    provider: Literal["auto", "openai", "scripted"] = "auto"
    """Who answers model calls; auto takes `openai` when a key or a base URL is set."""
    model: str = "gpt-4o-mini"
    """Model name for the OpenAI-compatible endpoint."""
    requests_per_minute: Annotated[float, Field(gt=0)] = 500
    """What the provider account allows, until its headers say otherwise."""
    tokens_per_minute: Annotated[float, Field(gt=0)] = 200_000
    """What the provider account allows, until its headers say otherwise."""
    call_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 300.0
    """A model call that takes longer is ended and tried again."""
    openai_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("HOLDFAST_OPENAI_API_KEY", "OPENAI_API_KEY")
    )
    """Key of the OpenAI-compatible endpoint."""
    openai_base_url: str | None = Field(
        default=None,
        repr=False,
        validation_alias=AliasChoices("HOLDFAST_OPENAI_BASE_URL", "OPENAI_BASE_URL"),
    )
    """Base URL of the OpenAI-compatible endpoint; OpenAI's own by default."""

    @property
    def store_url(self) -> str:
        """The store's URL with the default filled in."""
        return self.store or f"sqlite:///{self.home / 'holdfast.db'}"

    @property
    def store_shown(self) -> str:
        """The store's URL for people and logs: scheme, host, port and path only."""
        if self.store_url.startswith("sqlite:///"):
            return self.store_url  # all path, whatever is in it
        found = _SHOWABLE.fullmatch(self.store_url)
        return found["scheme"] + found["place"] if found else "a store whose URL cannot be shown"

    @property
    def service_url(self) -> str:
        """Where the service is reached from outside, with the default filled in."""
        return self.public_url or f"http://{self.host}:{self.port}"

    @property
    def artifacts_url(self) -> str:
        """The artifacts' folder or URL with the default filled in."""
        return self.artifacts or str(self.home / "artifacts")

    @property
    def open_access(self) -> bool:
        """Whether requests without a key are an operator's: only where nobody else reaches the port."""
        # A public URL says that there is a proxy, whose requests all come from this machine.
        public = urlsplit(self.public_url).hostname if self.public_url else "localhost"
        return self.auth == "auto" and is_loopback(self.host) and is_loopback(public or "")

    @property
    def cors_origin_list(self) -> tuple[str, ...]:
        """The origins of web pages that may call the API.

        Raises:
            ConfigError: One is the wildcard, and the service can be reached from elsewhere.
        """
        found = tuple(one.strip().rstrip("/") for one in self.cors_origins.split(",") if one.strip())
        if "*" in found and not self.open_access:
            raise ConfigError(
                "HOLDFAST_CORS_ORIGINS allows every web page",
                hint="name the origins, such as https://shop.example",
            )
        return found

    @property
    def webhook_network_list(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The networks of ours that webhooks may lead into.

        Raises:
            ConfigError: One is not a network.
        """
        named = [one.strip() for one in self.webhook_networks.split(",") if one.strip()]
        try:
            return tuple(map(ipaddress.ip_network, named))
        except ValueError as error:
            raise ConfigError(
                f"HOLDFAST_WEBHOOK_NETWORKS names something that is no network: {error}",
                hint="write networks as 10.1.0.0/16 or fd00::/8, separated by commas",
            ) from None

    @property
    def uses_home(self) -> bool:
        """Whether anything is kept in the home folder."""
        return not (self.store and self.artifacts)

    @property
    def embedded(self) -> bool:
        """Whether this is one machine's own: no broker, the store a file, and something in the home."""
        local = self.store_url.startswith("sqlite:///")
        return local and self.broker is None and self.uses_home

    @property
    def uses_openai(self) -> bool:
        """Whether model calls go to an OpenAI-compatible endpoint."""
        if self.provider == "auto":
            return bool(self.openai_api_key or self.openai_base_url)
        return self.provider == "openai"


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address to listen on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def overridden(**values: Any) -> Iterator[None]:
    """Let these settings win over the environment within the block; None leaves a setting alone.

    For options of the command line; an application that loads its own settings sees them too.
    """
    given = {name: value for name, value in values.items() if value is not None}
    token = _overrides.set({**(_overrides.get() or {}), **given})
    try:
        yield
    finally:
        _overrides.reset(token)


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        ConfigError: A variable has a value that cannot be used; every such variable is named.
    """
    try:
        return Settings(**(_overrides.get() or {}))
    except pydantic.ValidationError as error:
        raise ConfigError(
            f"settings cannot be used: {describe_invalid(error)}",
            hint="correct the environment variables HOLDFAST_… of these names",
        ) from None
