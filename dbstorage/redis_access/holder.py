"""Who holds one of the keys that expire: the reader's lease, or a worker's sign of life."""

import json
import os
import platform
import uuid
from functools import cache
from pathlib import Path
from typing import NamedTuple

#: Process numbers are positive, and no system counts further.
_MOST_PROCESS_ID = 2**31 - 1


class Place(NamedTuple):
    """Where a process runs. Within one place a process number belongs to one process at a time.

    A host name alone does not tell: containers share one, and a machine keeps its own over a restart. `boot` and
    `process_namespace` are empty where the system does not tell them (they are Linux').
    """

    host: str
    boot: str
    process_namespace: str

    @classmethod
    @cache
    def here(cls) -> "Place":
        """The place of this process."""
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            process_namespace = os.readlink("/proc/self/ns/pid")
        except (OSError, ValueError):
            boot = process_namespace = ""
        return cls(platform.node(), boot, process_namespace)

    @property
    def known(self) -> bool:
        """Whether the system told enough to tell this place from every other."""
        return bool(self.host and self.boot and self.process_namespace)


class KeyHolder(NamedTuple):
    """Who holds a key; written as its token."""

    node_name: str
    place: Place
    process_id: int
    nonce: str

    @classmethod
    def this_process(cls, node_name: str) -> "KeyHolder":
        """A new holder for this process."""
        return cls(node_name, Place.here(), os.getpid(), uuid.uuid4().hex)

    @classmethod
    def parse(cls, token: bytes | str | None) -> "KeyHolder | None":
        """The holder that wrote this token; None where it is not one of ours, whatever it is. Never raises."""
        try:
            fields = json.loads(token or "")
        except (ValueError, RecursionError):
            return None
        if not isinstance(fields, dict):
            return None
        names = [fields.get(name) for name in ("node", "host", "boot", "process_namespace", "nonce")]
        process_id = fields.get("process_id")
        if type(process_id) is not int or not 0 < process_id <= _MOST_PROCESS_ID:
            return None
        match names:
            case [str(node), str(host), str(boot), str(process_namespace), str(nonce)]:
                return cls(node, Place(host, boot, process_namespace), process_id, nonce)
        return None

    @property
    def token(self) -> str:
        """The holder as ASCII text (JSON)."""
        return json.dumps(
            {
                "node": self.node_name,
                "host": self.place.host,
                "process_id": self.process_id,
                "boot": self.place.boot,
                "process_namespace": self.place.process_namespace,
                "nonce": self.nonce,
            }
        )

    @property
    def host(self) -> str:
        """The name of the host that this holder runs on."""
        return self.place.host

    def is_dead_neighbour(self) -> bool:
        """Whether this holder ran where this process runs and is gone, so that its keys need not expire first.

        False wherever that cannot be known for certain.
        """
        here = Place.here()
        if not here.known or self.place != here or self.process_id == os.getpid():
            return False
        try:
            os.kill(self.process_id, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False
