"""The pictures of the documents can be taken anew."""

from pathlib import Path

from selenium.webdriver import Chrome
from sqlalchemy import Connection

from tests.dashboard.flower_process import Flower
from tests.dashboard.pictures import IMAGES, PICTURES, WIDTH, take_pictures
from tests.failed_tasks.records import add, record

PNG = b"\x89PNG\r\n\x1a\n"


def test_each_picture_of_the_documents_can_be_taken(
    browser: Chrome, open_flower: Flower, connection: Connection, tmp_path: Path
):
    add(connection, record())
    take_pictures(browser, open_flower.url, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in IMAGES.iterdir()}
    for directory in (tmp_path, IMAGES):
        for name, (_, height, _) in PICTURES.items():
            head = (directory / name).read_bytes()[:24]
            assert head.startswith(PNG)
            assert (int.from_bytes(head[16:20]), int.from_bytes(head[20:24])) == (WIDTH, height)
