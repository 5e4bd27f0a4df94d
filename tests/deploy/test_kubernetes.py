from pathlib import Path
from typing import Any

import pytest
import yaml

from dbstorage.settings import load_settings
from tests.deploy.checkers import ROOT, check

FILES = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
OBJECTS = [item for file in FILES for item in yaml.safe_load_all(file.read_text())]
PODS = {
    item["metadata"]["name"]: item["spec"]["template"]["spec"]
    for item in OBJECTS
    if item["kind"] in ("Deployment", "Job")
}


def only(kind: str, name: str) -> dict[str, Any]:
    [found] = [item for item in OBJECTS if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return dict(found)


def container(pod: dict[str, Any]) -> dict[str, Any]:
    [found] = pod["containers"]
    return dict(found)


def secret(name: str) -> dict[str, str]:
    return dict(only("Secret", name)["stringData"])


def secrets_of(pod: dict[str, Any]) -> set[str]:
    """The names of the Secrets that the container reads."""
    whole = {source["secretRef"]["name"] for source in container(pod).get("envFrom", [])}
    keys = [variable["valueFrom"]["secretKeyRef"] for variable in container(pod)["env"] if "valueFrom" in variable]
    return whole | {key["name"] for key in keys}


def environment(pod: dict[str, Any]) -> dict[str, str]:
    """What the container finds, with the values of the example secrets."""
    found: dict[str, str] = {}
    for source in container(pod).get("envFrom", []):
        found |= secret(source["secretRef"]["name"])
    for variable in container(pod).get("env", []):
        value = variable.get("value")
        if value is None:
            key = variable["valueFrom"]["secretKeyRef"]
            value = secret(key["name"])[key["key"]]
        found[variable["name"]] = value
    return found


def test_each_part_has_a_secret_of_its_own_with_what_it_needs() -> None:
    assert {name: secrets_of(pod) for name, pod in PODS.items()} == {
        "dbstorage": {"dbstorage-worker"},
        "dbstorage-flower": {"dbstorage-flower"},
        "dbstorage-migration": {"dbstorage-migration"},
    }
    assert set(secret("dbstorage-migration")) == {"DATABASE_URL"}
    assert "FLOWER_BASIC_AUTH" not in secret("dbstorage-worker")


def test_each_part_is_reached_and_reaches_only_what_it_has_to() -> None:
    ports: dict[str, tuple[set[int], set[int]]] = {}
    for component in ("worker", "flower", "migration"):
        policy = only("NetworkPolicy", f"dbstorage-{component}")["spec"]
        assert policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == component
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        way_in, way_out = (
            {port["port"] for rule in policy[direction] for port in rule["ports"]}
            for direction in ("ingress", "egress")
        )
        ports[component] = way_in, way_out
    assert ports == {
        "worker": ({9100}, {53, 6379, 5432}),
        "flower": ({5555}, {53, 6379, 5432}),
        "migration": (set(), {53, 5432}),
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_objects_follow_the_schemas_of_kubernetes(file: Path) -> None:
    check("kubernetes-validate", "--strict", "--quiet", file)


def test_two_workers_share_the_stream_in_strict_order() -> None:
    deployment = only("Deployment", "dbstorage")
    assert deployment["spec"]["replicas"] == 2
    settings = load_settings(environment(PODS["dbstorage"]))
    assert settings.ordering == "strict"
    assert settings.metrics_port == container(PODS["dbstorage"])["ports"][0]["containerPort"]


def test_the_worker_is_probed_where_it_serves_and_given_time_to_stop() -> None:
    worker = container(PODS["dbstorage"])
    paths = {name: worker[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: probe["path"] for name, probe in paths.items()} == {
        "startupProbe": "/livez",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    assert {probe["port"] for probe in paths.values()} == {worker["ports"][0]["name"]}
    assert PODS["dbstorage"]["terminationGracePeriodSeconds"] > 10


def test_the_migration_and_the_dashboard_run_the_same_image_with_what_they_need() -> None:
    assert {container(pod)["image"] for pod in PODS.values()} == {"dbstorage:0.1.0"}
    assert container(PODS["dbstorage-migration"])["command"] == ["alembic", "upgrade", "head"]
    assert set(environment(PODS["dbstorage-migration"])) == {"DATABASE_URL"}
    assert "FLOWER_BASIC_AUTH" in environment(PODS["dbstorage-flower"])


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_no_pod_has_more_rights_than_it_needs(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    # By number: a name says nothing to the kubelet of whether it is root.
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == (10001, 10001)
    assert pod["automountServiceAccountToken"] is False
    assert container(pod)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_no_pod_gets_urls_of_services_as_variables_that_it_reads(pod: dict[str, Any]) -> None:
    assert pod["enableServiceLinks"] is False


@pytest.mark.parametrize(
    ("item", "template"),
    [
        (only("PodDisruptionBudget", "dbstorage"), only("Deployment", "dbstorage")),
        (only("Deployment", "dbstorage"), only("Deployment", "dbstorage")),
        (only("Deployment", "dbstorage-flower"), only("Deployment", "dbstorage-flower")),
        (only("Service", "dbstorage-flower"), only("Deployment", "dbstorage-flower")),
    ],
    ids=lambda item: item["kind"],
)
def test_selectors_find_their_pods(item: dict[str, Any], template: dict[str, Any]) -> None:
    selector = item["spec"]["selector"]
    labels = template["spec"]["template"]["metadata"]["labels"]
    assert selector.get("matchLabels", selector).items() <= labels.items()
