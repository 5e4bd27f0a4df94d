"""docs/configuration.md, compared with what the settings read: names, defaults, and what each takes."""

import re
from pathlib import Path

import pytest

from dbstorage.errors import SettingsError
from dbstorage.settings import VARIABLES, load_settings

PAGE = (Path(__file__).parents[1] / "docs" / "configuration.md").read_text()
#: variable -> default and what it accepts, as the page says.
TABLE = {
    name: (default, accepts)
    for name, default, accepts in re.findall(r"^\| `([A-Z_]+)` \| (\S+) \| (.+?) \| .*\|$", PAGE, re.MULTILINE)
}
REQUIRED = {"REDIS_URL": "redis://localhost", "DATABASE_URL": "postgresql://localhost/dbstorage"}
#: A value that each refuses.
WRONG = dict.fromkeys(VARIABLES, "\x1b") | {"STREAM_KEEP": "soon"}


def test_every_variable_that_is_read_stands_on_the_page_and_no_other():
    asked: set[str] = set()

    class Environment(dict[str, str]):
        def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
            asked.add(name)
            return super().get(name, default)

    load_settings(Environment(REQUIRED))
    assert set(TABLE) == asked == set(VARIABLES)


def test_the_defaults_are_those_of_the_service():
    assert {name for name, (default, _) in TABLE.items() if default == "required"} == set(REQUIRED)
    defaults = {name: default.strip("`") for name, (default, _) in TABLE.items() if default != "required"}
    defaults["CELERY_BROKER_URL"] = REQUIRED[defaults["CELERY_BROKER_URL"]]
    assert load_settings({**REQUIRED, **defaults}) == load_settings(REQUIRED)


def test_what_a_variable_accepts_is_what_its_error_says():
    told = {}
    for name in VARIABLES:
        try:
            load_settings({**REQUIRED, name: WRONG[name]})
        except SettingsError as error:
            [sentence] = error.sentences
            told[name] = sentence.partition("expected ")[2].removesuffix(".")
    accepts = {name: text for name, (_, text) in TABLE.items()}
    # It says so in other words: everything that REDIS_URL takes, and more.
    told["CELERY_BROKER_URL"] = accepts["CELERY_BROKER_URL"]
    assert told == accepts


def test_the_wrong_value_that_it_shows_is_refused_as_it_says():
    [(name, value, sentence)] = re.findall(r"^\$ ([A-Z_]+)=(\S+) celery .*\n(.*)$", PAGE, re.MULTILINE)
    with pytest.raises(SettingsError) as refused:
        load_settings({**REQUIRED, name: value})
    assert str(refused.value) == sentence
