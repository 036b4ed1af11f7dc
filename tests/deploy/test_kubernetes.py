"""The Kubernetes example: valid, consistent in itself and with the worker, scaled by the right count."""

import copy
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import psycopg
import pytest

from holdfast.model import JobStatus, SuspendReason
from holdfast.server.checks import PATIENCE_SECONDS
from holdfast.server.run import GRACE_SECONDS
from holdfast.settings import Settings
from holdfast.store.postgres_store import PostgresStore
from holdfast.testing.store_suite.support import finish, settle, start, submit, worker
from tests.deploy.files import (
    DEPLOY,
    TEARDOWN_SECONDS,
    by_kind,
    dockerfile,
    kind_queues,
    manifests,
    parsed,
    setting_variables,
)

DEPLOYMENTS = by_kind("Deployment")
WORKERS = {name: body for name, body in DEPLOYMENTS.items() if name != "holdfast-api"}
SCALED = by_kind("ScaledObject")

# What our files use of KEDA 2.20's two kinds: no package carries their definitions.
_NAME = {"type": "string", "minLength": 1}


def _object(*, required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_TRIGGER = _object(
    required=("type", "metadata", "authenticationRef"),
    type={"const": "postgresql"},
    authenticationRef=_object(required=("name",), name=_NAME),
    # Numbers, too, are written as strings.
    metadata=_object(required=("query", "targetQueryValue"), query=_NAME, targetQueryValue=_NAME),
)
KEDA = {
    "ScaledObject": _object(
        required=("scaleTargetRef", "triggers"),
        scaleTargetRef=_object(required=("name",), name=_NAME),
        minReplicaCount={"type": "integer"},
        maxReplicaCount={"type": "integer"},
        pollingInterval={"type": "integer"},
        # Its content is Kubernetes' own, see below.
        advanced=_object(horizontalPodAutoscalerConfig=_object(behavior={"type": "object"})),
        triggers={"type": "array", "items": _TRIGGER, "minItems": 1},
    ),
    "TriggerAuthentication": _object(
        secretTargetRef={
            "type": "array",
            "items": _object(
                required=("parameter", "name", "key"),
                parameter={"const": "connection"},
                name=_NAME,
                key=_NAME,
            ),
        }
    ),
}


def validate(body: dict[str, Any]) -> None:
    """Raise unless Kubernetes, or KEDA, would take this object as it is."""
    if body["kind"] not in KEDA:
        kubernetes_validate.validate(body, kubernetes_validate.latest_version(), strict=True)
        return
    jsonschema.Draft202012Validator(KEDA[body["kind"]]).validate(body["spec"])
    behavior = body["spec"].get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior")
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": body["metadata"],
        "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": "any"},
            "maxReplicas": 1,
            **({"behavior": behavior} if behavior else {}),
        },
    }
    kubernetes_validate.validate(autoscaler, kubernetes_validate.latest_version(), strict=True)


def pod_of(name: str) -> dict[str, Any]:
    pod: dict[str, Any] = DEPLOYMENTS[name]["spec"]["template"]["spec"]
    return pod


def worker_of(name: str) -> dict[str, Any]:
    """Return the options of the worker in this deployment."""
    (container,) = pod_of(name)["containers"]
    command, options = parsed(container["args"])
    assert command == "holdfast worker"
    return options


def trigger_of(name: str) -> dict[str, str]:
    (trigger,) = SCALED[name]["spec"]["triggers"]
    metadata: dict[str, str] = trigger["metadata"]
    return metadata


@pytest.mark.parametrize(
    "body", manifests(), ids=lambda body: f"{body['kind']}-{body['metadata']['name']}"
)
def test_manifest_is_valid(body: dict[str, Any]):
    validate(body)


def test_each_queue_has_one_deployment_that_is_scaled_and_protected():
    served = [worker_of(name)["queues"] for name in WORKERS]

    assert sorted(served) == kind_queues()
    assert {body["spec"]["scaleTargetRef"]["name"] for body in SCALED.values()} == set(WORKERS)
    assert set(by_kind("PodDisruptionBudget")) == set(DEPLOYMENTS)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_labels_find_this_deployment_and_no_other(name: str):
    labels = DEPLOYMENTS[name]["spec"]["template"]["metadata"]["labels"]
    budget = by_kind("PodDisruptionBudget")[name]["spec"]["selector"]["matchLabels"]

    assert DEPLOYMENTS[name]["spec"]["selector"]["matchLabels"] == labels == budget
    assert f"holdfast-{labels['app.kubernetes.io/component'].removeprefix('worker-')}" == name


@pytest.mark.parametrize("name", WORKERS)
def test_pod_is_looked_after_and_has_time_to_drain(name: str):
    pod = pod_of(name)
    (container,) = pod["containers"]
    (port,) = container["ports"]
    grace = Settings.model_fields["drain_grace_seconds"].default

    probes = [container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "readiness", "liveness")]

    # That it answers there is shown in test_image.
    assert probes == [{"path": "/health/live", "port": port["name"]}] * 3
    assert port["containerPort"] == worker_of(name)["metrics_port"]
    assert pod["terminationGracePeriodSeconds"] >= grace + TEARDOWN_SECONDS


def test_api_is_looked_after_and_leaves_in_order():
    pod = pod_of("holdfast-api")
    (container,) = pod["containers"]
    (port,) = container["ports"]
    command, options = parsed(container["args"])
    probes = {
        name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")
    }

    assert (command, options["with_worker"], options["port"]) == (
        "holdfast serve",
        False,
        port["containerPort"],
    )
    assert not Settings(host=options["host"]).open_access
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert {name: probe["path"].partition("?")[0] for name, probe in probes.items()} == {
        "startup": "/health/live",
        "readiness": "/health/ready",
        "liveness": "/health/live",
    }
    # Each check may take so long, and they run at the same time.
    assert container["readinessProbe"]["timeoutSeconds"] > PATIENCE_SECONDS
    waited = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > waited + GRACE_SECONDS


def test_service_leads_to_the_api():
    (service,) = by_kind("Service").values()
    (port,) = service["spec"]["ports"]
    template = DEPLOYMENTS["holdfast-api"]["spec"]["template"]
    (container,) = template["spec"]["containers"]

    assert service["spec"]["selector"] == template["metadata"]["labels"]
    assert port["targetPort"] == container["ports"][0]["name"]


def test_secret_of_the_service_is_made_once_for_all_pods():
    """Each pod would make one of its own, and refuse the tokens of the others."""
    page = (DEPLOY / "README.md").read_text()

    assert "--from-literal=HOLDFAST_SECRET=" in page


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_pod_migrates_first_and_is_contained(name: str):
    pod = pod_of(name)
    (first,) = pod["initContainers"]
    (container,) = pod["containers"]

    assert parsed(first["args"])[0] == "holdfast migrate"
    assert first["image"] == container["image"]
    assert first["securityContext"] == container["securityContext"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert dockerfile("USER") == [
        f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    ]
    assert dockerfile("VOLUME") == [first["volumeMounts"][0]["mountPath"]]


def test_variables_are_settings_and_the_secret_is_the_one_that_the_page_makes():
    (config,) = by_kind("ConfigMap").values()
    (authentication,) = by_kind("TriggerAuthentication").values()
    (scaling,) = authentication["spec"]["secretTargetRef"]
    page = (DEPLOY / "README.md").read_text()
    (made,) = re.findall(r"kubectl create secret generic (\S+) ((?:\\\n|.)*)", page)

    keys = set(re.findall(r"--from-literal=(\w+)=", made[1]))

    assert set(config["data"]) | keys <= setting_variables()
    assert scaling["name"] == made[0]
    assert scaling["key"] in keys
    for name in DEPLOYMENTS:
        (container,) = pod_of(name)["containers"]
        assert container["envFrom"] == [
            {"configMapRef": {"name": config["metadata"]["name"]}},
            {"secretRef": {"name": made[0]}},
        ]


@pytest.mark.parametrize("name", SCALED)
def test_scaling_fits_the_worker(name: str):
    spec, trigger, worker_options = SCALED[name]["spec"], trigger_of(name), worker_of(name)
    (trigger_body,) = spec["triggers"]
    limit = re.findall(r"LIMIT (\d+)", trigger["query"])

    assert trigger_body["authenticationRef"]["name"] in by_kind("TriggerAuthentication")
    assert int(trigger["targetQueryValue"]) == worker_options["concurrency"]
    assert limit == [str(spec["maxReplicaCount"] * worker_options["concurrency"])]
    assert set(re.findall(r"queue = '([^']+)'", trigger["query"])) == {worker_options["queues"]}
    assert spec["minReplicaCount"] >= 1


@pytest.mark.requires("initdb", "postgres")
@pytest.mark.parametrize("name", SCALED)
async def test_query_counts_the_jobs_of_its_queue_that_need_a_slot(name: str, postgres_url: str):
    queue = worker_of(name)["queues"]
    store = PostgresStore(postgres_url)
    await store.open()
    try:
        store.beat(worker("w1"), first=True)
        await start(store, queue=queue)
        await settle(
            store,
            await start(store, queue=queue),
            JobStatus.SUSPENDED,
            suspend_reason=SuspendReason.SIGNAL,
        )
        await finish(store, await start(store, queue=queue))
        await start(store, queue="elsewhere")
        await submit(store, queue="elsewhere")
        await submit(store, queue=queue, delay=timedelta(hours=1))
        for _ in range(2):
            await submit(store, queue=queue)
    finally:
        await store.close()

    with psycopg.connect(postgres_url) as connection:
        counted = connection.execute(trigger_of(name)["query"]).fetchone()

    # One runs and two are due; the suspended, the finished and the delayed one need no slot.
    assert counted == (3,)


# the checks themselves


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec.update(minReplicas=1),
        lambda spec: spec["triggers"][0]["metadata"].update(targetQueryValue=20),
        lambda spec: spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"].update(down={}),
    ],
)
def test_broken_scaled_object_is_found(change: Callable[[dict[str, Any]], None]):
    broken = copy.deepcopy(next(iter(SCALED.values())))
    change(broken["spec"])

    with pytest.raises(jsonschema.ValidationError):
        validate(broken)


def test_misspelt_field_of_a_deployment_is_found():
    broken = copy.deepcopy(next(iter(DEPLOYMENTS.values())))
    broken["spec"]["template"]["spec"]["terminationGracePeriod"] = 45

    with pytest.raises(jsonschema.ValidationError):
        validate(broken)
