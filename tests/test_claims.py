"""Commands, log lines, names and paths that documents mention: each has to exist in the code."""

import ast
import re
import shlex
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path

import click
import pytest
from celery.bin.celery import celery
from celery.worker.control import Panel
from flower.options import options as flower_options

from dbstorage.cli import main
from dbstorage.failed_tasks.changes import Change
from dbstorage.failed_tasks.filters import State
from dbstorage.metrics.health import ReaderState
from dbstorage.operating.verdict import Standing
from dbstorage.settings import Ordering, TaskEvents
from dbstorage.worker.controls import register_pause
from tests.test_documents import CHECKOUT, DOCUMENTS

#: History: what was so at the time.
TRUE_TODAY = [document for document in DOCUMENTS if document.name != "CHANGELOG.md"]
SOURCES = [
    path
    for pattern in (
        "dbstorage/**/*",
        "tasks/**/*",
        "migrations/**/*",
        "tests/**/*",
        "bench/**/*",
        "deploy/**/*",
        "*",
        ".ci/*",
    )
    for path in CHECKOUT.glob(pattern)
    if path.is_file() and path.suffix not in (".md", ".png", ".lock", ".pyc") and "node_modules" not in path.parts
]

each_document = pytest.mark.parametrize("document", TRUE_TODAY, ids=lambda path: str(path.relative_to(CHECKOUT)))


# Every process of a parallel run imports this file, and one of them needs what follows.


@cache
def source() -> str:
    return "\n".join(path.read_text(errors="replace") for path in SOURCES)


@cache
def ours() -> dict[Path, ast.Module]:
    """The syntax tree of each file of ours."""
    files = (path for room in ("dbstorage", "tasks") for path in (CHECKOUT / room).rglob("*.py"))
    return {path: ast.parse(path.read_text()) for path in files}


def blocks(document: Path, *languages: str) -> list[str]:
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


def spans(document: Path) -> list[str]:
    """What stands in `…` outside of blocks."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


# Commands


def typed(document: Path) -> Iterator[str]:
    """Each line that a person is to type."""
    for block in blocks(document, "sh", "shell"):
        yield from block.replace("\\\n", " ").splitlines()
    for block in blocks(document, "console"):
        yield from re.findall(r"^\$ (.*)$", block, re.MULTILINE)


def commands(line: str) -> Iterator[list[str]]:
    """The commands of a line, each as its words, without variables before it."""
    line = re.sub(r"<[\w -]+>", "1-0", line).replace("…", "x")
    line = re.sub(r"\$[a-z]+", "1", line)
    line = re.sub(r'"\$\((.*?)\)"', r"; \1", line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|>;&")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set("|>;&"):
            words.append(word)
            continue
        while words and re.match(r"[A-Z_]+=|exec$|eval$|uvx$", words[0]):
            del words[0]
        if words:
            yield words
        words = []


def parse(words: list[str], *, whole: bool = True) -> None:
    """Parse a command of ours, but for running it; in a sentence it may go without its arguments."""
    command, context = click.Command("nothing"), click.Context(main)
    command, rest = main, words
    while isinstance(command, click.Group) and rest:
        found = command.get_command(context, rest[0])
        assert found is not None, words
        command, rest = found, rest[1:]
    try:
        command.make_context(words[0], list(rest), parent=context)
    except click.exceptions.NoArgsIsHelpError:
        assert not whole, words
    except click.MissingParameter:
        assert not whole, words


def check_celery(words: list[str]) -> None:
    assert words[:2] == ["-A", "dbstorage"], words
    command = celery.get_command(click.Context(celery), words[2])
    assert command is not None, words
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words[3:] if re.match(r"-\w$|--\w", word)} <= known, words
    if words[2] in ("inspect", "control"):
        register_pause()
        rest = [word for number, word in enumerate(words[3:]) if word != "-d" and words[2:][number] != "-d"]
        assert rest[0] in Panel.meta, words


@each_document
def test_every_command_that_a_document_shows_can_be_typed(document: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(CHECKOUT)
    for line in typed(document):
        for words in commands(line):
            match Path(words[0]).name:
                case "dbstorage":
                    parse(words[1:])
                case "celery":
                    check_celery(words[1:])


@each_document
def test_every_command_in_a_sentence_exists_with_its_options(document: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(CHECKOUT)
    for span in spans(document):
        if re.match(r"(?:\.venv/bin/)?dbstorage [a-z]", span) and "…" not in span:
            for words in commands(span):
                parse(words[1:], whole=False)
        elif span.startswith("celery -A ") and "…" not in span:
            for words in commands(span):
                check_celery(words[1:])


# Log lines


LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z ([A-Z]+) (\S+): (.*?)(?: \((?:\w+=[^ ,]+(?:, )?)+\))?$", re.MULTILINE)
LOG_LINES = [
    (document.name, *sample)
    for document in TRUE_TODAY
    for block in blocks(document, "console", "text")
    for sample in LOG_LINE.findall(block)
]


def pattern(node: ast.expr) -> str | None:
    """What a text of the code looks like once it is filled in; None where it is no text."""
    match node:
        case ast.Constant(value=str(text)):
            return re.sub(r"%(?:\\\.\d)?[sdrf]", "(?s:.+)", re.escape(text))
        case ast.JoinedStr(values=parts):
            return "".join(pattern(part) or "" for part in parts)
        case ast.FormattedValue():
            return "(?s:.*)"
    return None


def texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.expr) and (found := pattern(node)) and len(re.sub(r"\(\?s:..\)|\\", "", found)) > 12:
            yield found


@cache
def all_texts() -> list[str]:
    return [found for tree in ours().values() for found in texts(tree)]


def logged(tree: ast.AST, level: str) -> Iterator[ast.expr]:
    """What a file logs at this level, or at one that it decides when it runs."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if node.func.attr == level.lower():
                yield node.args[0]
            elif node.func.attr == "log":
                yield node.args[1]


@pytest.mark.parametrize(("document", "level", "logger", "sentence"), LOG_LINES)
def test_every_log_line_that_is_shown_is_written_by_the_logger_that_it_names(
    document: str, level: str, logger: str, sentence: str
):
    files = [
        tree
        for path, tree in ours().items()
        if logger == ".".join(path.relative_to(CHECKOUT).with_suffix("").parts)
        or f'getLogger("{logger}")' in path.read_text()
    ]
    assert files, f"no logger {logger}"
    for tree in files:
        for node in logged(tree, level):
            own = pattern(node)
            if own is not None and re.fullmatch(own, sentence):
                return
            if own is None and any(re.fullmatch(text, sentence) for text in all_texts()):
                return
    raise AssertionError(f"{document}: {logger} logs nothing like it at {level}: {sentence}")


# Names


#: Of other programs, or an example of a name.
FOREIGN = {
    *("task_received", "task_sent"),  # signals of Celery
    *("TimeoutStopSec", "zsh_source"),  # of systemd, and of click
}


@each_document
def test_every_name_of_the_code_that_a_document_says_is_there(document: Path):
    named = {
        name
        for span in spans(document)
        for name in re.findall(
            r"^(?:[A-Z]\w*\.)?([A-Za-z]\w*(?:_\w+|[a-z][A-Z]\w*)|[A-Z][A-Z_0-9]{3,})(?:\(\))?$", span
        )
    }
    wanted = {name for name in named - FOREIGN if not name.startswith("FLOWER_")}
    missing = {name for name in wanted if not re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}", source())}
    assert missing == set()


@each_document
def test_every_path_that_a_document_says_is_there(document: Path):
    roots = [CHECKOUT, CHECKOUT / "dbstorage", CHECKOUT / "tests", CHECKOUT / "bench", document.parent]
    named = {
        span
        for span in spans(document)
        if re.fullmatch(r"(?:[\w.-]+/)+(?:[\w.-]+\.\w+)?|[\w-]+\.(?:py|md|yml|toml|lock|ini)", span)
    }
    found = {path.name for path in SOURCES}
    missing = {
        name
        for name in named
        if not any((root / name).exists() for root in roots) and not ("/" not in name and name in found)
    }
    assert missing == set()


@each_document
def test_every_variable_of_flower_that_a_document_says_is_one_of_its_options(document: Path):
    named = set(re.findall(r"\bFLOWER_([A-Z_]+)\b", document.read_text()))
    ours = re.findall(r'define\(\s*"(\w+)"', (CHECKOUT / "dbstorage" / "dashboard" / "access.py").read_text())
    # Beside them: one that Flower reads by itself, and one of docker-compose.yml.
    assert {name.lower() for name in named} <= {*flower_options, *ours, "unauthenticated_api", "password"}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("docs/architecture.md", ReaderState),
        ("docs/operations.md", ReaderState),
        ("docs/operations.md", Standing),
        ("docs/failed-tasks.md", State),
        ("docs/configuration.md", TaskEvents),
        ("docs/configuration.md", Ordering),
    ],
)
def test_every_word_of_a_state_or_setting_is_explained(document: str, words: type[StrEnum]):
    page = CHECKOUT / document
    explained = " ".join([*spans(page), *re.findall(r"\bone of ([\w, ]+)", page.read_text())])
    assert [word.value for word in words if not re.search(rf"\b{word.value}\b", explained)] == []


def test_the_metric_of_the_verdict_is_described_with_every_standing():
    [words] = re.findall(r"1 for how the service stands: ([\w, ]+) \(", (CHECKOUT / "docs/operations.md").read_text())
    assert words.split(", ") == [standing.value for standing in Standing]


def test_a_table_of_what_can_be_done_with_failed_tasks_is_that_of_the_code():
    page = (CHECKOUT / "docs/failed-tasks.md").read_text()
    for change in Change:
        states = [state for state in State if re.search(rf"^\| `{state}` \|.*\b{change}\b", page, re.MULTILINE)]
        assert states == list(change.from_states), change


def test_every_key_in_redis_is_in_the_table_of_what_is_kept_where():
    ours = set(
        re.findall(r"\{prefix\(settings\.scope\)\}(\w+)", (CHECKOUT / "dbstorage/redis_access/keys.py").read_text())
    )
    page = (CHECKOUT / "docs/architecture.md").read_text()
    told = set(re.findall(r"^\| `dbstorage:<stream>:<group>:(\w+)", page, re.MULTILINE))
    assert told == ours


def test_comments_name_pages_that_are_in_the_repository():
    """And no paper that a reader of the repository does not have."""
    paper = "SP" + "EC"
    naming = [path for path in SOURCES if re.search(rf"\b{paper}\b", path.read_text(errors="replace"))]
    assert naming == []
    named = {name for path in ours() for name in re.findall(r"\bdocs/[\w-]+\.md", path.read_text())}
    assert [name for name in sorted(named) if not (CHECKOUT / name).exists()] == []
