"""What the dashboard leans on in Flower, tried with these versions; a new one has to be looked at first."""

from importlib.metadata import version
from pathlib import Path

import flower
import pytest
from flower import urls
from flower.options import options
from flower.views import BaseHandler

from dbstorage.dashboard.flower_internals import ADDITIONS, TemplateLoader


def test_the_version_is_one_that_was_tried():
    assert version("flower").split(".")[:2] == ["2", "2"], "look at flower_internals.py, then change this"


@pytest.mark.parametrize("name", ADDITIONS)
def test_flowers_templates_take_our_additions(name: str):
    TemplateLoader(urls.settings["template_path"]).load(name)


def test_a_template_that_has_changed_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "navbar.html").write_text("<nav></nav>")
    with pytest.raises(SystemExit) as raised:
        TemplateLoader(str(tmp_path)).load("navbar.html")
    assert raised.value.code == 2
    assert capsys.readouterr().err == (
        f"Flower {flower.__version__} is not supported: its template navbar.html has changed. "
        "Install the version that requirements.lock names.\n"
    )


def test_flower_still_has_the_handlers_and_options_that_we_replace():
    assert [handler for handler in urls.handlers if isinstance(handler, tuple) and handler[0] == "/metrics"]
    assert urls.handlers[-1][0] == ".*"
    assert callable(BaseHandler.check_xsrf_cookie)
    assert options.max_tasks == 100_000
