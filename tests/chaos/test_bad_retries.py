"""An operator's retry of a record that kills its process ends as poison, and holds up no other retry."""

import os
from pathlib import Path

from tests.service.platform import Platform, order, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until

CHECKOUT = Path(__file__).parents[2]
#: Python runs it at its start: taking the payload of this record apart kills the process.
BUG = """
import os
from dbstorage.storage import retries

unpack = retries.unpack

def with_a_bug(layout, payload, *rest):
    if b"bug" in payload:
        os.kill(os.getpid(), 9)
    return unpack(layout, payload, *rest)

retries.unpack = with_a_bug
"""


def test_a_record_whose_decoding_kills_ends_as_poison_and_the_others_are_stored(
    platform: Platform, start_worker: StartWorker, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BUG)
    start_worker(USER_WAIT="0", PYTHONPATH=os.pathsep.join([str(tmp_path), str(CHECKOUT)]))
    names = ["before-1", "before-2", "bug", "behind-1", "behind-2"]
    platform.send(*(order(name, "late") for name in names))
    platform.wait_until_finished()
    assert platform.failed("code") == [("user_not_found",)] * 5
    # Stored by the retry, not with their user.
    platform.query("UPDATE dbstorage.failed_tasks SET code = 'database_error'")
    platform.send(user("late"))
    platform.wait_until_finished()
    platform.query("UPDATE dbstorage.failed_tasks SET state = 'retrying', retry_at = now()")
    wait_until(lambda: not [1 for (state,) in platform.failed("state") if state == "retrying"], "the retries to end")
    assert platform.failed("order_id", "task_id", "state", "code") == [
        (
            name,
            f"createCloseOrder:{name}",
            "failed" if name == "bug" else "resolved",
            "poison" if name == "bug" else "database_error",
        )
        for name in names
    ]
    assert sorted(platform.orders()) == sorted(set(names) - {"bug"})
