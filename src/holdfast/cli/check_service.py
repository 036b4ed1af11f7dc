"""The HTTP service: could it run here as it is set up, and is it as safe as it should be?"""

from __future__ import annotations

import asyncio
import importlib
import json
import socket
from importlib import metadata
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from holdfast.cli.finding import Finding, Verdict
from holdfast.errors import HoldfastError
from holdfast.remote.address import is_near
from holdfast.settings import is_loopback

if TYPE_CHECKING:
    from holdfast.settings import Settings

_AREA = "service"
_TIMEOUT_SECONDS = 4.0
_OPEN_FILES_MIN = 4_096
"""A stream is an open file; thousands of clients follow their jobs at once."""
_PROBE_JOB = "job_00000000000000000000000000"
"""A job that does not exist: whether a key is good can be asked without reading anything."""


async def service(settings: Settings) -> list[Finding]:
    """Return the findings on the service that these settings describe, or that they speak to."""
    findings = [_extra()]
    if findings[0].verdict == "ok":
        findings.append(_secret(settings))
    findings += [await _access(settings), _origins(settings), _public_url(settings)]
    findings.append(await asyncio.to_thread(_port, settings))
    findings.append(_open_files())
    findings.append(_traces(settings))
    if settings.url:
        findings += await asyncio.to_thread(_remote, settings, settings.url)
    return findings


def _extra() -> Finding:
    try:
        importlib.import_module("holdfast.wiring.serving")
    except HoldfastError as error:
        return Finding(
            _AREA,
            "server",
            "warning",
            f"not installed, so 'holdfast serve' cannot run: {error.message}",
            error.hint,
        )
    return Finding(_AREA, "server", "ok", f"FastAPI {metadata.version('fastapi')}")


def _secret(settings: Settings) -> Finding:
    from holdfast.wiring.secrets import secrets_of

    if settings.secret is None and settings.uses_home:
        if not (settings.home / "secret").exists():
            return Finding(
                _AREA, "secret", "ok", "none yet; 'holdfast serve' makes one in the home folder"
            )
        told = "kept in the home folder"
    else:
        told = "from HOLDFAST_SECRET"
    try:
        count = len(secrets_of(settings))
    except HoldfastError as error:
        return Finding(_AREA, "secret", "problem", error.message, error.hint)
    except OSError as error:
        return Finding(
            _AREA,
            "secret",
            "problem",
            f"cannot be read: {error.strerror}",
            "let this user read the file 'secret' in the home folder, or set HOLDFAST_SECRET",
        )
    others = f"; {count - 1} more accepted" if count > 1 else ""
    if not settings.uses_home or settings.secret is not None:
        return Finding(_AREA, "secret", "ok", told + others)
    if settings.store:
        return Finding(
            _AREA,
            "secret",
            "warning",
            f"{told}, so other machines do not know it",
            "set HOLDFAST_SECRET to the same value in every process that serves",
        )
    return Finding(_AREA, "secret", "ok", told)


async def _access(settings: Settings) -> Finding:
    """Say who gets in: nobody from outside without a key, and somebody with one."""
    if settings.open_access:
        return Finding(_AREA, "access", "ok", f"everybody on this machine, by {settings.host} only")
    from holdfast.store import open_store

    try:
        store = await open_store(settings.store_url)
        try:
            keys = await store.service.list_keys()
        finally:
            await store.close()
    except HoldfastError as error:
        return Finding(_AREA, "access", "problem", error.message, error.hint)
    if not keys:
        return Finding(
            _AREA,
            "access",
            "warning",
            f"{settings.host} asks for keys, and there is none: nobody gets in",
            "make one with 'holdfast keys new NAME'",
        )
    return Finding(_AREA, "access", "ok", f"with one of {len(keys)} keys, by {settings.host}")


def _origins(settings: Settings) -> Finding:
    try:
        origins = settings.cors_origin_list
    except HoldfastError as error:
        return Finding(_AREA, "web pages", "problem", error.message, error.hint)
    wrong = [one for one in origins if one != "*" and not _is_origin(one)]
    if wrong:
        return Finding(
            _AREA,
            "web pages",
            "problem",
            f"{wrong[0]!r} in HOLDFAST_CORS_ORIGINS is no origin",
            "write scheme and host, and nothing behind, such as https://shop.example",
        )
    return Finding(_AREA, "web pages", "ok", ", ".join(origins) or "none may call the API")


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and not (parts.path or parts.query)
        )
    except ValueError:
        return False


def _public_url(settings: Settings) -> Finding:
    if not settings.public_url:
        if is_loopback(settings.host):
            return Finding(_AREA, "public URL", "ok", "not set; links lead to this machine")
        return Finding(
            _AREA,
            "public URL",
            "warning",
            f"not set, so links lead to {settings.host}",
            "set HOLDFAST_PUBLIC_URL to where others reach the service",
        )
    parts = urlsplit(settings.public_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return Finding(
            _AREA,
            "public URL",
            "problem",
            "HOLDFAST_PUBLIC_URL is no web address",
            "give scheme and host, such as https://jobs.example.com",
        )
    shown = f"{parts.scheme}://{parts.hostname}"
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        return Finding(
            _AREA,
            "public URL",
            "warning",
            f"{shown} is not encrypted: keys can be read on the way",
            "put a proxy with TLS in front, and set HOLDFAST_PUBLIC_URL=https://…",
        )
    return Finding(_AREA, "public URL", "ok", shown)


def _port(settings: Settings) -> Finding:
    place = f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host.strip("[]"), settings.port))
    except OSError as error:
        host = "127.0.0.1" if settings.host in {"0.0.0.0", "::", ""} else settings.host  # noqa: S104 - compared
        status, body = _ask(f"http://{host}:{settings.port}/health/live")
        if status is not None and body.get("status") in {"alive", "stuck"}:
            return Finding(_AREA, "port", "ok", f"{place} is served already")
        return Finding(
            _AREA,
            "port",
            "warning",
            f"{place} cannot be listened on: {error.strerror or error}",
            "end what listens there, or set HOLDFAST_PORT or HOLDFAST_HOST",
        )
    return Finding(_AREA, "port", "ok", f"{place} is free")


def _open_files() -> Finding:
    try:
        import resource
    except ImportError:  # not on Windows
        return Finding(_AREA, "open files", "ok", "not limited here")
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit in {-1, resource.RLIM_INFINITY}:
        return Finding(_AREA, "open files", "ok", "not limited")
    if limit < _OPEN_FILES_MIN:
        return Finding(
            _AREA,
            "open files",
            "warning",
            f"{limit:,} at once; each stream is one",
            f"raise the limit to {_OPEN_FILES_MIN:,} or more where many follow their jobs (ulimit -n)",
        )
    return Finding(_AREA, "open files", "ok", f"{limit:,} at once")


def _traces(settings: Settings) -> Finding:
    from importlib.util import find_spec

    from holdfast.telemetry.export import PROTOCOL, traces_url

    url = traces_url(settings)
    if url is None:
        return Finding(_AREA, "traces", "ok", "off")
    try:
        parts = urlsplit(url)
        place = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    except ValueError:
        return Finding(
            _AREA,
            "traces",
            "problem",
            "the collector's URL cannot be read",
            "correct OTEL_EXPORTER_OTLP_ENDPOINT",
        )
    if settings.otlp_protocol != PROTOCOL:
        return Finding(
            _AREA,
            "traces",
            "problem",
            f"cannot be sent by {settings.otlp_protocol!r}",
            f"set OTEL_EXPORTER_OTLP_PROTOCOL={PROTOCOL}, and the collector's port for it (4318)",
        )
    if find_spec("opentelemetry.sdk") is None:
        return Finding(
            _AREA,
            "traces",
            "problem",
            f"go to {place}, but there is no SDK",
            "install 'holdfast[tracing]'",
        )
    try:
        with socket.create_connection(
            (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)),
            _TIMEOUT_SECONDS,
        ):
            return Finding(_AREA, "traces", "ok", f"go to {place}")
    except OSError as error:
        return Finding(
            _AREA,
            "traces",
            "warning",
            f"{place} cannot be reached: {error.strerror or error}",
            "start the collector, or correct OTEL_EXPORTER_OTLP_ENDPOINT; jobs run all the same",
        )


def _remote(settings: Settings, url: str) -> list[Finding]:
    """Look at the service that the command line speaks to."""
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.hostname or 'unknown'}" + (f":{parts.port}" if parts.port else "")
    if parts.scheme not in {"http", "https"}:
        return [
            Finding(_AREA, "remote", "problem", f"{place} is no web address", "correct HOLDFAST_URL")
        ]
    base = url.rstrip("/")
    status, body = _ask(f"{base}/health/ready", proxied=not is_near(parts.hostname or ""))
    if status is None or "checks" not in body:
        told = body.get("trouble") or f"answers with status {status}, but not as Holdfast does"
        to_do = "check HOLDFAST_URL and the network"
        return [Finding(_AREA, "remote", "problem", f"{place} {told}", to_do)]
    wrong = [
        f"{name}: {found['told'] or found['status']}"
        for name, found in body["checks"].items()
        if found["status"] != "ok"
    ]
    verdict: Verdict = "ok" if status == 200 and not wrong else "warning"
    told = "; ".join(wrong) or body.get("status", "")
    return [
        Finding(_AREA, "remote", verdict, f"{place} · {told}", "see to it there" if wrong else ""),
        _remote_key(settings, base),
    ]


def _remote_key(settings: Settings, base: str) -> Finding:
    key = settings.api_key
    headers = {} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"}
    status, _ = _ask(
        f"{base}/api/v1/jobs/{_PROBE_JOB}", headers, proxied=not is_near(urlsplit(base).hostname or "")
    )
    if status == 401:
        told = (
            "none is set, and it asks for one" if key is None else "refused: unknown, expired or revoked"
        )
        return Finding(
            _AREA,
            "remote key",
            "problem",
            told,
            "set HOLDFAST_API_KEY; 'holdfast keys new' makes one there",
        )
    if status in {200, 403, 404}:
        return Finding(_AREA, "remote key", "ok", "not needed" if key is None else "accepted")
    return Finding(
        _AREA,
        "remote key",
        "warning",
        f"could not be tried (status {status})",
        "look at the service's log",
    )


def _ask(
    url: str, headers: dict[str, str] | None = None, *, proxied: bool = False
) -> tuple[int | None, dict[str, Any]]:
    """Return the status and the JSON object of an answer; without an answer, why there is none."""
    opener = build_opener() if proxied else build_opener(ProxyHandler({}))
    try:
        with opener.open(Request(url, headers=headers or {}), timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - scheme checked
            return answer.status, _object(answer.read(65_536))
    except HTTPError as error:
        with error:
            return error.code, _object(error.read(65_536))
    except (URLError, OSError) as error:
        return None, {"trouble": f"cannot be reached: {getattr(error, 'reason', error)}"}


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
