"""Liveness from any state: once the servers answer, all that is due is taken up within ten seconds, by itself."""

import pytest

from tests.chaos.conftest import Servers
from tests.chaos.liveness import wait_until_drained, wait_until_served
from tests.service.platform import Platform, order, question, user
from tests.service.worker import StartWorker
from tests.waiting import let_it_last, wait_until


@pytest.mark.parametrize("count", [1, 2])
def test_lone_questions_in_an_outage_are_answered_and_end_nothing(
    count: int, servers: Servers, platform: Platform, start_worker: StartWorker
) -> None:
    start_worker()
    platform.send(user("u"))
    platform.wait_until_finished()
    servers.postgres.stop("immediate")
    for number in range(count):
        platform.send(question("u", f"alone-{number}"))
        assert platform.answer_to(f"alone-{number}")["error"] == "unavailable"
    if count == 1:
        # Longer than the read that is under way waits for entries: another one has to follow it.
        let_it_last(2.5)
    servers.postgres.start()
    wait_until_served(platform)


def test_every_question_behind_a_write_in_an_outage_is_told_so(
    servers: Servers, platform: Platform, start_worker: StartWorker
) -> None:
    worker = start_worker()
    platform.send(user("u"))
    platform.wait_until_finished()
    servers.postgres.stop("immediate")
    platform.send(order("waits", "u"))
    wait_until(lambda: "is away" in worker.log, "the log to tell of the outage")
    # One by one, then with further writes between them: none stands at the head, and none was in hand.
    asked = [f"alone-{number}" for number in range(4)]
    for request_id in asked:
        platform.send(question("u", request_id))
        let_it_last(0.2)
    between = [f"between-{number}" for number in range(20)]
    for number, request_id in enumerate(between):
        platform.send(order(f"waits-{number}", "u"), question("u", request_id))
    for request_id in asked + between:
        assert platform.answer_to(request_id)["error"] == "unavailable"
    servers.postgres.start()
    wait_until_drained(platform)
    assert set(platform.orders()) == {"waits", *(f"waits-{number}" for number in range(20))}
    assert platform.failed("code") == []
    answered = [answer["requestId"] for answer in platform.answers()]
    assert answered == asked + between, "each once, in the order in which they were asked"
