"""Who holds one of the keys that expire: the reader's lease, or a worker's sign of life."""

import os
import platform
import uuid
from typing import NamedTuple


class Owner(NamedTuple):
    """Who holds a key; written as its token."""

    node_name: str
    host: str
    process_id: int
    nonce: str

    @classmethod
    def this_process(cls, node_name: str) -> "Owner":
        """A new owner for this process."""
        return cls(node_name, platform.node(), os.getpid(), uuid.uuid4().hex)

    @classmethod
    def parse(cls, token: str) -> "Owner | None":
        """The owner that wrote this token, None where it is not one of ours."""
        try:
            nonce, process_id, host, node_name = token.split(" ", 3)
            return cls(node_name, host, int(process_id), nonce)
        except ValueError:
            return None

    @property
    def token(self) -> str:
        """The owner as text."""
        return f"{self.nonce} {self.process_id} {self.host} {self.node_name}"

    def is_dead_neighbour(self) -> bool:
        """Whether this owner ran on this host and its process is gone, so that its keys need not expire first."""
        # In containers every host name is its own, and process 1 is always alive: they wait for the key to expire.
        if self.host != platform.node() or self.process_id == os.getpid():
            return False
        try:
            os.kill(self.process_id, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False
