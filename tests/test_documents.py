import re
from pathlib import Path

import pytest

from dbstorage.cli import COMMANDS

CHECKOUT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for folder in (CHECKOUT, CHECKOUT / "docs", CHECKOUT / "tests", *(CHECKOUT / "examples").iterdir())
    for path in (folder.glob("*.md") if folder.is_dir() else ())
)
LONGEST_LINE = 130
CODE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """The ids that its headings get where it is shown."""
    headings = re.findall(r"^#+ (.*)$", CODE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_every_link_leads_somewhere(document: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", document.read_text())):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_lines_of_prose_are_short(document: Path):
    """A row of a table and a line of code or output are one line, however long."""
    prose = [line for line in CODE.sub("", document.read_text()).splitlines() if not line.lstrip().startswith("|")]
    assert [line for line in prose if len(line) > LONGEST_LINE] == []


def test_every_document_can_be_reached_from_the_readme():
    reached: set[Path] = set()
    ahead = [CHECKOUT / "README.md"]
    while ahead:
        document = ahead.pop()
        if document in reached:
            continue
        reached.add(document)
        names = re.findall(r"\]\(([^)#\s]+\.md)(?:#[^)]*)?\)", document.read_text())
        paths = [(document.parent / name).resolve() for name in names if "://" not in name]
        ahead += [path for path in paths if path.exists()]
    assert set(DOCUMENTS) - reached == set()


def test_every_test_file_stands_once_in_the_table_of_contents():
    tests = CHECKOUT / "tests"
    files = {path.relative_to(tests).as_posix() for path in (*tests.glob("test_*.py"), *tests.glob("*/test_*.py"))}
    contents, _, _ = (tests / "README.md").read_text().partition("\n## Helpers\n")
    named = re.findall(r"`((?:\w+/)?test_\w+\.py)`", contents)
    assert sorted(named) == sorted(files)


def test_every_helper_stands_in_the_file_that_is_named():
    tests = CHECKOUT / "tests"
    [table] = re.findall(r"^## Helpers\n(.*)", (tests / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    for names, files in re.findall(r"^\| [^|]+ \| (.*`.*) \| (.*`.*) \|$", table, re.MULTILINE):
        code = "\n".join((tests / file).read_text() for file in re.findall(r"`([^`]+)`", files))
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^(?:def |class |){name}\b", code, re.MULTILINE), name


def test_every_test_that_a_document_names_exists():
    tests = CHECKOUT / "tests"
    names = {path.stem for path in tests.rglob("test_*.py")}
    for path in tests.rglob("test_*.py"):
        names.update(re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE))
    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"`(?:[\w/]+/)?(test_\w+)(?:\.py)?`", document.read_text())
    }
    assert named - names == set()


def test_every_make_target_that_a_document_names_exists():
    makefile = (CHECKOUT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {
        name for document in DOCUMENTS for name in re.findall(r"(?:`|^)make ([a-z-]+)", document.read_text(), re.M)
    }
    assert named - targets == set()


def test_every_dbstorage_command_that_a_document_names_exists():
    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"(?:`|\$ |/|^)dbstorage ([a-z]+)", document.read_text(), re.MULTILINE)
    }
    assert named - set(COMMANDS) == set()
