"""The compose file as Docker reads it: variables put in, and its parts as plain data."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.deploy.checkers import ROOT

FILE = ROOT / "docker-compose.yml"
PASSWORDS = {
    "POSTGRES_PASSWORD": "p0stgres",
    "REDIS_PASSWORD": "r3dis",
    "SERVICE_PASSWORD": "s3rvice",
    "FLOWER_PASSWORD": "fl0werer",
    "ENGINE_PASSWORD": "eng1ne",
    "FLOWER_BASIC_AUTH": "operator:fl0wer",
}

_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<text>[^}]*))?\}")


class MissingVariable(Exception):
    """Raised for `${NAME:?sentence}` where NAME is not set."""


def load(variables: Mapping[str, str]) -> dict[str, Any]:
    """The file with these variables put in; raises MissingVariable."""
    loaded: dict[str, Any] = _put_in(yaml.safe_load(FILE.read_text()), variables)
    return loaded


def _put_in(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _put_in(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_put_in(item, variables) for item in value]
    if not isinstance(value, str):
        return value

    def put_in(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        given = variables.get(match["name"], "")
        if not given and match["kind"] == "?":
            raise MissingVariable(f"{match['name']}: {match['text']}")
        return given or (match["text"] if match["kind"] == "-" else "")

    return _VARIABLE.sub(put_in, value)


def seconds(duration: str) -> float:
    """A duration such as 20s or 1m as seconds."""
    number, unit = re.fullmatch(r"(\d+)(s|m)", duration).groups()  # type: ignore[union-attr]
    return int(number) * {"s": 1, "m": 60}[unit]
