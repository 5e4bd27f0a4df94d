"""Makes sure that `tasks` is our package, before Celery imports another one from the current directory."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def load_own_tasks() -> None:
    """Have `tasks` be the package beside ours.

    Celery looks for the modules of an application in the current directory first, where a `tasks.py` of somebody
    else's may lie.
    """
    package = Path(__file__).resolve().parents[1] / "tasks"
    loaded = sys.modules.get("tasks")
    if loaded is not None and list(getattr(loaded, "__path__", ())) == [str(package)]:
        return
    spec = spec_from_file_location("tasks", package / "__init__.py", submodule_search_locations=[str(package)])
    assert spec
    assert spec.loader
    sys.modules["tasks"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["tasks"])
