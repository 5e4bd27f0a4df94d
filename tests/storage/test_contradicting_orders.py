"""Orders that share an id and contradict each other: which one is stored depends on the stream's order alone.

A batch comes to what its commands come to one by one: of the orders of one id the first is stored whose user is there,
at its own place in the stream or at that of the createUser it waits for. The others are duplicates or conflicts.
"""

from collections.abc import Sequence
from itertools import count

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.length import scaled
from tests.service.platform import order, user
from tests.storage.service import Service
from tests.wire.entries import steady

#: An order (id, userID, quantity), or a createUser (userID, e-mail address).
Command = tuple[str, str, int] | tuple[str, str]
#: What is stored: orderId -> userID and quantity; and what is not: number of the command -> state and code.
Result = tuple[dict[str, tuple[str, float]], dict[int, tuple[str, str]]]

runs = count(1)
userids = st.sampled_from(["ann", "bob", "cleo"])
orders = st.tuples(st.sampled_from(["x", "y"]), userids, st.sampled_from([1, 2]))
users = st.tuples(userids, st.sampled_from(["ann@x", "bob@x", "cleo@x"]))
streams = st.lists(st.one_of(orders, orders, users), min_size=2, max_size=9)
#: The sizes of the first batches; the rest is one batch.
batches = st.lists(st.integers(1, 5), max_size=4)

ANN, BOB, CLEO = ("ann", "ann@x"), ("bob", "bob@x"), ("cleo", "cleo@x")


def result(service: Service, stream: Sequence[Command], sizes: Sequence[int]) -> Result:
    """What the commands come to in batches of such sizes, once everything that is due has been retried."""
    mark = f"{next(runs)}-"
    ids = service.send(
        *(
            user(*(mark + part for part in command))
            if len(command) == 2
            else order(mark + command[0], mark + command[1], quantity=command[2])
            for command in stream
        )
    )
    for size in sizes:
        service.store(size)
    service.store()
    for _ in range(3):
        service.make_due()
        service.sweep()
    rows = service.query(
        'SELECT "orderId", "userId", quantity FROM "Orders" WHERE "orderId" LIKE :mark', mark=f"{mark}%"
    )
    stored = {row[0].removeprefix(mark): (row[1].removeprefix(mark), row[2]) for row in rows}
    records = service.failed("entry_id", "state", "code")
    return stored, {ids.index(row[0]): row[1:] for row in records if row[0] in ids and row[1] != "resolved"}


@settings(
    steady,
    max_examples=scaled(40, 1_000),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(streams, batches)
# Its user comes behind the other one, whose user is there: it is too late.
@example([BOB, ("x", "ann", 1), ("x", "bob", 2), ANN], [])
@example([BOB, ("x", "ann", 1), ("x", "bob", 1), ANN], [1])
# The same, where the first was in an earlier batch.
@example([BOB, ("x", "ann", 1), ("x", "bob", 2), ANN], [2])
@example([("x", "ann", 1), ("x", "bob", 2), BOB, ANN], [1])
# Both wait, and the user of the second one comes first.
@example([("x", "ann", 1), ("x", "bob", 2), BOB, ANN], [2])
# One whose user never comes is in nobody's way.
@example([("x", "ann", 1), ("x", "cleo", 2), ANN, BOB, ("x", "bob", 2)], [1])
def test_which_of_them_is_stored_does_not_depend_on_the_batches(
    storing: Service, stream: list[Command], sizes: list[int]
):
    assert result(storing, stream, sizes) == result(storing, stream, [1] * len(stream))
