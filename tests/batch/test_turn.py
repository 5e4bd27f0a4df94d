"""A batch that was read ahead waits for one message: run, or give up. Messages for other batches do not count."""

import os
import threading

import pytest

from dbstorage.batch.turn import PIPES, Turns


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.mark.parametrize("go", [True, False])
def test_a_message_that_came_before_the_batch_counts(turns: Turns, go: bool) -> None:
    turn = turns.next()
    turns.tell(turn, go=go)
    assert turn.wait() is go


def test_a_batch_waits_until_its_message_comes(turns: Turns) -> None:
    turn = turns.next()
    threading.Timer(0.1, turns.tell, (turn,), {"go": True}).start()
    assert turn.wait() is True


def test_a_batch_without_a_message_in_time_gives_up(turns: Turns) -> None:
    assert turns.next().wait(seconds=0.05) is False


def test_a_message_for_another_batch_does_not_count(turns: Turns) -> None:
    first, *_, second = [turns.next() for _ in range(PIPES + 1)]
    assert first.pipe == second.pipe
    turns.tell(first, go=True)
    assert second.wait(seconds=0.05) is False


def test_a_message_that_a_killed_process_left_unread_is_passed_over(turns: Turns) -> None:
    killed, *_, turn = [turns.next() for _ in range(PIPES + 1)]
    turns.tell(killed, go=True)
    turns.tell(turn, go=False)
    assert turn.wait() is False


def test_a_process_that_was_forked_before_gets_the_message(turns: Turns) -> None:
    turn = turns.next()
    if (child := os.fork()) == 0:
        os._exit(7 if turn.wait() else 8)
    turns.tell(turn, go=True)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
