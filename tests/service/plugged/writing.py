"""What a module that a test plugs into a worker has observed: a line of JSON each, from whatever process."""

import json
import os
from typing import Any


def write(kind: str, **fields: Any) -> None:
    line = json.dumps({"kind": kind, "pid": os.getpid(), **fields}, default=str) + "\n"
    with open(os.environ["OBSERVED"], "a") as file:
        # One write: lines of several processes do not mix.
        file.write(line)
