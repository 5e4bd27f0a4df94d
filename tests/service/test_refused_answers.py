"""What happens to questions and commands while Redis refuses answers, because their stream's key has another type."""

from dbstorage.embedded.ports import choose_port
from dbstorage.settings import load_settings
from dbstorage.status import read_verdict
from tests.metrics.scraping import get
from tests.service.platform import RESPONSES, Platform, order, question, user
from tests.service.worker import StartWorker
from tests.waiting import wait_until


def test_commands_are_stored_meanwhile_and_questions_answered_afterwards(
    platform: Platform, start_worker: StartWorker
) -> None:
    port = choose_port()
    worker = start_worker(METRICS_PORT=str(port), QUERY_TTL="600")
    platform.send(user("u"))
    platform.wait_until_finished()
    platform.redis.set(RESPONSES, "another program's")
    platform.send(question("u", "r-1"), order("o-1", "u"), question("u", "r-2"), order("o-2", "u"))
    wait_until(lambda: platform.orders().keys() == {"o-1", "o-2"}, "the orders", 10)
    sentence = f"The key {RESPONSES} is a string, not a stream: rename one or the other"
    wait_until(lambda: sentence in get(port, "/readyz")[1], "/readyz to name it")
    assert get(port, "/readyz")[0] == 503
    assert get(port, "/livez")[0] == 200
    assert sentence in read_verdict(load_settings(platform.environment)).sentence
    assert f"Redis refuses answers on the stream {RESPONSES}: WRONGTYPE" in worker.log
    platform.send(order("o-3", "u"))
    wait_until(lambda: "o-3" in platform.orders(), "what is read later", 10)

    platform.redis.delete(RESPONSES)
    platform.wait_until_finished(10)
    assert [answer["requestId"] for answer in platform.answers()] == ["r-1", "r-2"]
    wait_until(lambda: get(port, "/readyz")[0] == 200, "/readyz", 10)
    assert "is away" not in worker.log
    assert platform.failed("code") == []


def test_a_question_that_is_too_old_is_given_up_while_answers_are_refused(
    platform: Platform, start_worker: StartWorker
) -> None:
    start_worker(QUERY_TTL="1")
    platform.redis.set(RESPONSES, "another program's")
    platform.send(question("u", "r-1"), user("u"))
    platform.wait_until_finished(10)
    assert platform.users().keys() == {"u"}


def test_a_redis_that_refuses_acknowledgements_is_named_and_not_called_away(
    platform: Platform, start_worker: StartWorker
) -> None:
    port = choose_port()
    worker = start_worker(METRICS_PORT=str(port))
    platform.send(user("before"))
    platform.wait_until_finished()
    platform.redis.execute_command("ACL", "SETUSER", "default", "-xack")
    try:
        platform.send(user("u"))
        wait_until(lambda: "Redis refused an acknowledgement" in get(port, "/readyz")[1], "/readyz to name it")
        assert "Redis does not answer" not in get(port, "/readyz")[1]
    finally:
        platform.redis.execute_command("ACL", "SETUSER", "default", "+xack")
    platform.wait_until_finished(10)
    assert "Nothing can be stored until this is mended: Redis refused an acknowledgement: " in worker.log
    wait_until(lambda: "Storing goes on after " in worker.log, "the log to say that it is over", 10)
    assert "Redis is away" not in worker.log
