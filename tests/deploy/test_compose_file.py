"""What the compose file promises, read from the file; test_compose_commands.py runs its commands."""

from typing import Any

import pytest

from tests.deploy.checkers import check
from tests.deploy.compose import FILE, PASSWORDS, MissingVariable, load, seconds

#: The longest that a worker takes to stop.
WORKER_STOP_SECONDS = 10


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = load(PASSWORDS)["services"]
    return found


def conditions(service: dict[str, Any]) -> dict[str, str]:
    return {name: needed["condition"] for name, needed in service["depends_on"].items()}


def test_the_file_follows_the_schema_of_compose_files() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", FILE)


def test_it_has_the_five_services(services: dict[str, Any]) -> None:
    assert list(services) == ["postgres", "redis", "db-migrate", "dbstorage", "flower"]


@pytest.mark.parametrize("missing", PASSWORDS)
def test_every_password_has_to_be_given(missing: str) -> None:
    with pytest.raises(MissingVariable, match=missing):
        load({**PASSWORDS, missing: ""})


def test_the_service_waits_for_healthy_servers_and_a_finished_migration(services: dict[str, Any]) -> None:
    assert conditions(services["db-migrate"]) == {"postgres": "service_healthy"}
    assert conditions(services["dbstorage"]) == {
        "postgres": "service_healthy",
        "redis": "service_healthy",
        "db-migrate": "service_completed_successfully",
    }
    assert conditions(services["flower"]) == {
        "redis": "service_healthy",
        "db-migrate": "service_completed_successfully",
    }


def test_everything_is_restarted_but_the_migration(services: dict[str, Any]) -> None:
    assert {name: service["restart"] for name, service in services.items()} == {
        "postgres": "unless-stopped",
        "redis": "unless-stopped",
        "db-migrate": "no",
        "dbstorage": "unless-stopped",
        "flower": "unless-stopped",
    }


def test_everything_that_stays_has_a_health_check(services: dict[str, Any]) -> None:
    checked = {name for name, service in services.items() if "test" in service.get("healthcheck", {})}
    assert checked == set(services) - {"db-migrate"}


def test_a_stopping_worker_is_given_more_time_than_it_takes(services: dict[str, Any]) -> None:
    assert seconds(services["dbstorage"]["stop_grace_period"]) > WORKER_STOP_SECONDS


def test_ports_are_open_to_this_machine_only(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize(("name", "variable"), [("dbstorage", "METRICS_PORT"), ("flower", "FLOWER_PORT")])
def test_a_published_port_is_the_one_that_is_listened_on(services: dict[str, Any], name: str, variable: str) -> None:
    [port] = services[name]["ports"]
    assert port.rpartition(":")[2] == services[name]["environment"][variable]


def test_data_outlives_its_container(services: dict[str, Any]) -> None:
    assert services["postgres"]["volumes"] == ["postgres:/var/lib/postgresql/data"]
    assert services["redis"]["volumes"] == ["redis:/data"]
    assert set(load(PASSWORDS)["volumes"]) == {"postgres", "redis"}
