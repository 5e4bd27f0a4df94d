"""What the map of rooms in docs/architecture.md promises: which way imports point, and what stays out of a room."""

import ast
import re
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
OURS = ("dbstorage", "tasks", "migrations")

#: From the ground up: a room imports only from those in the lines above its own.
STOREYS = (
    {"codes", "errors", "order_columns", "own_tasks", "printable", "tracing", "urls"},
    {"wire", "database", "embedded"},
    {"commands", "settings"},
    {"logs", "redis_access"},
    {"storage", "migrations"},
    {"batch"},
    {"failed_tasks"},
    {"operating"},
    {"tasks"},
    {"worker", "metrics", "audit", "checks", "traffic"},
    {"reader", "status", "find"},
    {"application", "dashboard", "replay"},
    {"celery"},
    {"cli"},
    {"__main__"},
)
PURE_ROOMS = {"wire", "commands"}
#: In rooms that reach servers, the files that do not.
PURE_FILES = ("dbstorage/reader/core.py", "dbstorage/reader/messages.py", "dbstorage/operating/verdict.py")
#: None of them reaches a file, a process or a server.
PURE_LIBRARIES = {
    *("base64", "collections", "contextlib", "datetime", "decimal", "enum", "hashlib", "json", "math", "re", "typing"),
    "msgspec",
    "orjson",
}
#: What Celery documents; anything deeper belongs into dbstorage/worker/celery_internals/.
DOCUMENTED_CELERY = {"celery", "celery.exceptions", "celery.worker.request", "celery.worker"}
#: Where private names of other libraries may stand, and which they are.
PRIVATE_NAMES = {
    "dbstorage/dashboard/flower_internals.py": {"_create_template"},
    "dbstorage/reader/connection.py": {"_sock"},  # the socket that the event loop watches; redis-py has no other way
    # where redis-py makes the socket, kombu its class and its notes of a queue
    "dbstorage/worker/broker_connections.py": {"_brpop_read", "_connect", "_connparams", "_queue_bind", "_receive_one"},
    "dbstorage/worker/unacknowledged_tasks.py": {"_raw"},  # a message of the broker as it came
}
NAMED_TUPLE_METHODS = {"_asdict", "_fields", "_replace"}
#: They act when they are imported, because Celery and Alembic want it so.
ACTING_AT_IMPORT = {"dbstorage/celery.py", "migrations/env.py"}
#: The rules of a subject, and how it is stored.
RULES_AND_ROWS = {"orders.py", "users.py"}
LONGEST = 400
#: One machine in one place: everything that affects what the reader does.
MAY_BE_LONGER = {"dbstorage/reader/core.py"}


def module_name(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


TREES = {
    path.relative_to(CHECKOUT).as_posix(): ast.parse(path.read_text())
    for package in OURS
    for path in sorted((CHECKOUT / package).rglob("*.py"))
}
MODULES = {module_name(path): path for path in TREES}


def room_of(module: str) -> str:
    """`storage` for dbstorage.batch.job, `tasks` for tasks.running, nothing for the package dbstorage itself."""
    package, _, inner = module.partition(".")
    return inner.partition(".")[0] if package == "dbstorage" else package


def imported(tree: ast.Module) -> set[str]:
    """All modules that a file imports, within functions too."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.level == 0, "imports are absolute"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from dbstorage.cli import audit` may be a module, or a name in one.
            names |= {name if name in MODULES else node.module for name in inner}
    return names


IMPORTS = {path: imported(tree) for path, tree in TREES.items()}


def test_every_room_has_its_storey_and_stands_in_the_documented_map():
    rooms = {room_of(module) for module in MODULES} - {""}
    assert rooms == set(chain(*STOREYS))
    document = (CHECKOUT / "docs" / "architecture.md").read_text()
    assert [room for room in sorted(rooms) if f"{room}/`" not in document and f"{room}.py`" not in document] == []


def test_a_room_with_a_map_names_each_of_its_files_once():
    """The map is the indented part of the docstring of the room."""
    mapped = []
    for path, tree in TREES.items():
        lines = (ast.get_docstring(tree) or "").splitlines() if path.endswith("/__init__.py") else []
        named = re.findall(r"\b[a-z_]+\.py\b", "\n".join(line for line in lines if line.startswith("    ")))
        if named:
            room = (CHECKOUT / path).parent
            assert sorted(named) == sorted({file.name for file in room.glob("*.py")} - {"__init__.py"}), room.name
            mapped.append(room.name)
    assert {"storage", "reader", "batch"} <= set(mapped)


def test_imports_point_one_way():
    storey_of = {room: number for number, rooms in enumerate(STOREYS) for room in rooms}
    wrong = [
        f"{path} imports {name}"
        for path, names in IMPORTS.items()
        for name in names & set(MODULES)
        if (own := room_of(module_name(path))) != (other := room_of(name))
        and other
        and storey_of[other] >= storey_of[own]
    ]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: IMPORTS[path] & set(MODULES) for module, path in MODULES.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names them


def test_the_pure_rooms_import_nothing_that_reaches_outside():
    found = {
        f"{path} imports {name}"
        for path, names in IMPORTS.items()
        if room_of(module_name(path)) in PURE_ROOMS
        for name in names
        if name.partition(".")[0] not in {"dbstorage", *PURE_LIBRARIES}
    }
    assert found == set()


def test_pure_files_import_nothing_that_reaches_a_server():
    allowed = {*PURE_LIBRARIES, "dataclasses", "itertools", "shlex"}
    found = {
        (path, name)
        for path in PURE_FILES
        for name in IMPORTS[path]
        if name.partition(".")[0] not in {"dbstorage", *allowed}
    }
    assert found == set()
    ours = {name for path in PURE_FILES for name in IMPORTS[path] if name.startswith("dbstorage.")}
    assert {".".join(name.split(".")[:3]) for name in ours} <= {
        "dbstorage.codes", "dbstorage.commands.decode",
        "dbstorage.reader.messages", "dbstorage.storage.outcome", "dbstorage.wire.entry",
        "dbstorage.wire.entry_id",
    }  # fmt: skip


def test_what_celery_and_flower_do_not_document_stands_in_one_room_each():
    celery = {
        path
        for path, names in IMPORTS.items()
        if any(name.startswith("celery.") and name not in DOCUMENTED_CELERY for name in names)
    }
    assert {path for path in celery if not path.startswith("dbstorage/worker/celery_internals/")} == set()
    assert celery
    flower = {path for path, names in IMPORTS.items() if any(name.partition(".")[0] == "flower" for name in names)}
    assert {room_of(module_name(path)) for path in flower} == {"dashboard"}


def test_private_names_of_other_libraries_stand_where_they_are_accounted_for():
    found: dict[str, set[str]] = {}
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                ours = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                if not ours and node.attr not in NAMED_TUPLE_METHODS:
                    found.setdefault(path, set()).add(node.attr)
    assert found == PRIVATE_NAMES


def is_definition(node: ast.stmt) -> bool:
    """Whether a statement of a module only names something."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.FunctionDef() | ast.ClassDef() | ast.Assign() | ast.AnnAssign():
            return True
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__")) | ast.Name(id="TYPE_CHECKING")):
            return True
    return False


def test_importing_a_module_does_nothing_but_define():
    acting = {path for path, tree in TREES.items() if not all(map(is_definition, tree.body))}
    assert acting <= ACTING_AT_IMPORT


def test_an_import_opens_no_connection_starts_nothing_and_needs_no_setting():
    modules = [module for module, path in MODULES.items() if path not in ACTING_AT_IMPORT]
    program = """
import importlib, sys
def refuse(event, arguments):
    assert not event.startswith(("socket.connect", "socket.bind", "subprocess.", "os.fork", "os.system")), event
    assert event != "open" or not set("wax+") & set(arguments[1] or "r"), arguments
sys.addaudithook(refuse)
for module in sys.argv[1:]:
    importlib.import_module(module)
"""
    done = subprocess.run(
        [sys.executable, "-B", "-c", program, *modules],
        cwd=CHECKOUT, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""


def test_a_revision_stands_alone():
    revisions = {path: names for path, names in IMPORTS.items() if path.startswith("migrations/versions/")}
    assert revisions
    ours = {
        f"{path} imports {name}"
        for path in revisions
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (name := f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name)
        and name.partition(".")[0] in OURS
    }
    # What it asks of the tables is as of its own day, whatever a later version asks.
    assert {sentence.partition(" imports ")[2] for sentence in ours} <= {"dbstorage.database.tables.OWN_SCHEMA"}


def test_a_class_name_means_one_thing():
    # A frozen revision holds copies of what it needs.
    shared = [tree for path, tree in TREES.items() if not path.startswith("migrations/versions/")]
    names = Counter(node.name for tree in shared for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert [name for name, times in names.items() if times > 1] == []


def test_a_file_name_means_one_thing():
    """The files of `cli` are named after subcommands, which may be named after what they run."""
    paths = [path for path in TREES if not path.startswith(("dbstorage/cli/", "migrations/")) and "__" not in path]
    names = Counter(path.rpartition("/")[2] for path in paths)
    assert {name for name, times in names.items() if times > 1} <= RULES_AND_ROWS


def test_no_file_is_long():
    # A frozen revision holds copies of what it needs.
    shared = {path for path in TREES if not path.startswith("migrations/versions/")}
    long = {path for path in shared if len((CHECKOUT / path).read_text().splitlines()) > LONGEST}
    assert not long - MAY_BE_LONGER


def test_whatever_the_command_prints_goes_through_one_file():
    """It escapes what would act on a terminal; `generate` writes what a program reads."""
    allowed = {"dbstorage/cli/output.py", "dbstorage/cli/generate.py"}
    printing = {"print", "Console", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write"}
    found = {
        f"{path}:{node.lineno}"
        for path, tree in TREES.items()
        if path.startswith("dbstorage/cli/") and path not in allowed
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in printing
    }
    assert found == set()
