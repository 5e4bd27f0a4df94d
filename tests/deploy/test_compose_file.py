"""What the compose file promises, read from the file; test_compose_commands.py runs its commands."""

import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from dbstorage.redis_access.acl import acl_lines
from dbstorage.settings import load_settings
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


def test_the_file_has_servers_migration_service_and_flower(services: dict[str, Any]) -> None:
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


def test_no_container_has_a_right_of_roots_or_writes_but_to_its_volume(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert "/tmp" in service["tmpfs"], name
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"]), name
    # Ours is an ordinary user's by its Dockerfile.
    assert [name for name, service in services.items() if "user" in service] == ["postgres", "redis"]


def test_the_database_is_reached_by_the_other_services_only(services: dict[str, Any]) -> None:
    assert load(PASSWORDS)["networks"] == {"servers": {"internal": True}, "published": None}
    assert services["postgres"]["networks"] == services["db-migrate"]["networks"] == ["servers"]
    assert "ports" not in services["postgres"]
    assert all("servers" in service["networks"] for service in services.values())


def test_no_password_stands_on_a_command_line(services: dict[str, Any]) -> None:
    for service in services.values():
        words = " ".join([*service["command"], *service.get("healthcheck", {}).get("test", [])])
        assert not [password for password in PASSWORDS.values() if password in words]


def test_redis_says_that_it_is_full_before_its_container_is_killed(services: dict[str, Any]) -> None:
    command = services["redis"]["command"]
    assert command[command.index("--maxmemory") + 1] == "768mb"
    assert services["redis"]["mem_limit"] == "1g"


def test_images_are_named_by_their_exact_versions(services: dict[str, Any]) -> None:
    images = {service["image"] for service in services.values()} - {"dbstorage"}
    assert all(re.search(r":\d+\.\d+(\.\d+)?-", image) for image in images)


def test_each_part_has_a_role_and_a_user_of_its_own(services: dict[str, Any]) -> None:
    logins = {
        name: (urlsplit(found["REDIS_URL"]).username, urlsplit(found["DATABASE_URL"]).username)
        for name in ("db-migrate", "dbstorage", "flower")
        if (found := services[name]["environment"])
    }
    assert logins == {
        "db-migrate": ("dbstorage", "dbstorage"),
        "dbstorage": ("dbstorage", "dbstorage_service"),
        "flower": ("dbstorage-flower", "dbstorage_flower"),
    }


def test_the_users_of_redis_have_the_rights_that_grants_prints(services: dict[str, Any]) -> None:
    settings = load_settings({"REDIS_URL": "redis://redis/0", "DATABASE_URL": "postgresql://postgres/dbstorage"})
    passwords = iter(("SERVICE_PASSWORD", "FLOWER_PASSWORD", "ENGINE_PASSWORD"))
    printed = acl_lines(settings, "dbstorage", "dbstorage-flower", "engine")
    wanted = [line.replace("<password>", f"${next(passwords)}") for line in printed if line.startswith("user")]
    script = services["redis"]["command"][2]
    assert [line for line in script.splitlines() if line.startswith("user")] == wanted
