"""Dashboard, alerts and scraping: by Prometheus' own tools, and in agreement with our metrics."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from holdfast import metrics
from tests.deploy.files import DEPLOY, parsed, services

DASHBOARD = DEPLOY / "grafana" / "holdfast.json"
PROMETHEUS = DEPLOY / "prometheus"
GIVEN = {"up", "process_resident_memory_bytes"}
"""What Prometheus itself and its client add."""

# Words of PromQL that are no metrics, and what stands in braces, brackets and behind `by` or `on`.
_ASIDE = re.compile(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on)\s*\([^)]*\)|\"[^\"]*\"")
_WORD = re.compile(r"[a-z_][a-z0-9_]*")
_FUNCTIONS = frozenset("and or unless sum max min rate increase histogram_quantile absent by on".split())


_SUFFIXES: dict[str, dict[str, frozenset[str]]] = {
    "counter": {"_total": frozenset()},
    "histogram": {"_bucket": frozenset({"le"}), "_count": frozenset(), "_sum": frozenset()},
}


def known_series() -> dict[str, set[str]]:
    """Return the series that our metrics give, each with its labels."""
    found: dict[str, set[str]] = {}
    for each in vars(metrics).values():
        if not isinstance(each, MetricWrapperBase):
            continue
        for metric in each.describe():
            labels = set(each._labelnames)
            suffixes = _SUFFIXES.get(metric.type, {"": frozenset()})
            for suffix, extra in suffixes.items():
                found[metric.name + suffix] = labels | extra
    return found


def metrics_of(expression: str) -> set[str]:
    """Return the names of the metrics in a PromQL expression."""
    return set(_WORD.findall(_ASIDE.sub(" ", expression))) - _FUNCTIONS


def labels_of(expression: str) -> set[str]:
    """Return the labels that a PromQL expression selects or groups by."""
    grouped = re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression)
    selected = re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", expression)
    return {word for group in grouped for word in _WORD.findall(group)} | set(selected)


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Give every PromQL expression of dashboard and alerts with its place."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")
    for rule in rules():
        yield rule["alert"], rule["expr"]


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def promtool(*arguments: str, folder: Path = PROMETHEUS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


# agreement with our metrics -------------------------------------------------------------------


@pytest.mark.parametrize(("place", "expression"), list(expressions()))
def test_every_metric_and_label_exists(place: str, expression: str):
    known = known_series()
    used = metrics_of(expression) - GIVEN

    assert used <= set(known)
    labels = {label for name in used for label in known[name]} | {"job", "instance"}
    assert labels_of(expression) <= labels


def test_every_metric_is_of_use_to_somebody():
    """What neither dashboard nor alerts show is of use to nobody, or they lack something."""
    used = {name for _, expression in expressions() for name in metrics_of(expression)}
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for name in used}

    missing = {re.sub(r"_(bucket|count|sum)$", "", name) for name in known_series()} - shown

    assert missing == {"holdfast_jobs_running", "holdfast_slots", "holdfast_jobs_pruned_total"}


def test_metrics_that_clients_of_prometheus_add_exist():
    assert "process_resident_memory_bytes" in {metric.name for metric in REGISTRY.collect()}


# dashboard -----------------------------------------------------------------------------------


def test_panels_are_told_apart_and_explained():
    found = panels()

    assert len({panel["title"] for panel in found}) == len(found)
    assert [panel["title"] for panel in found if not panel["description"]] == []


def test_panels_lie_beside_each_other():
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_data_source_is_chosen_by_whoever_imports_it():
    text = DASHBOARD.read_text()

    assert set(re.findall(r'"uid": "([^"]+)"', text)) == {"${datasource}", "holdfast"}


@pytest.mark.requires("promtool")
def test_prometheus_understands_every_panel(tmp_path):
    """A dashboard is JSON to Grafana; as rules, its expressions are read by Prometheus itself."""
    written = [
        {"record": f"panel:{number}", "expr": expression}
        for number, (_, expression) in enumerate(expressions())
    ]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "a", "rules": written}]}))

    ended = promtool("check", "rules", "panels.yaml", folder=tmp_path)

    assert ended.returncode == 0, ended.stdout + ended.stderr


# alerts ----------------------------------------------------------------------------------------


@pytest.mark.requires("promtool")
def test_prometheus_takes_the_rules():
    ended = promtool("check", "rules", "alerts.yaml")

    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.requires("promtool")
def test_alerts_fire_when_they_should_and_not_before():
    ended = promtool("test", "rules", "alerts.test.yaml")

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_is_seen_firing_and_seen_silent():
    tests = yaml.safe_load((PROMETHEUS / "alerts.test.yaml").read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    names = {rule["alert"] for rule in rules()}

    assert {case["alertname"] for case in cases if case["exp_alerts"]} == names
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == names


@pytest.mark.requires("promtool")
def test_alert_that_would_not_fire_is_found(tmp_path):
    """The check itself can fail."""
    text = (PROMETHEUS / "alerts.yaml").read_text()
    broken = text.replace("max(holdfast_workers_alive) == 0", "max(holdfast_workers_alive) < 0")
    assert broken != text
    (tmp_path / "alerts.yaml").write_text(broken)
    (tmp_path / "test.yaml").write_text((PROMETHEUS / "alerts.test.yaml").read_text())

    ended = promtool("test", "rules", "test.yaml", folder=tmp_path)

    assert ended.returncode != 0
    assert "HoldfastNoWorkers" in ended.stdout + ended.stderr


# scraping ----------------------------------------------------------------------------------------


@pytest.mark.requires("promtool")
def test_prometheus_takes_the_configuration():
    ended = promtool("check", "config", "--syntax-only", "prometheus.yaml")

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_all_that_tell_of_themselves_are_scraped():
    config = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text())
    scraped = {
        (name, found["port"])
        for job in config["scrape_configs"]
        for found in job["dns_sd_configs"]
        for name in found["names"]
    }

    serving = set()
    for name, body in services(ours=True).items():
        options = parsed(body["command"])[1]
        aliases = body.get("networks", {}).get("default", {}).get("aliases", [name])
        port = options.get("metrics_port") or options.get("port")
        serving |= {(alias, port) for alias in aliases if port}
    assert scraped == serving == {("api", 8000), ("workers", 9464)}


# the checks themselves


def test_names_are_found_in_promql():
    found = metrics_of('sum by (le, kind) (rate(a_total{b="c"}[5m])) > 0.1 and on (kind) max(d) == 0')

    assert found == {"a_total", "d"}
    assert labels_of('sum by (le, kind) (rate(a_total{b=~"c"}[5m]))') == {"le", "kind", "b"}
