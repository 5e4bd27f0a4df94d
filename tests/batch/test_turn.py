"""What a job that waits for the one before it is told, and by whom it lets itself be told."""

import os
import threading

import pytest

from dbstorage.batch.turn import PIPES, Turns


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.mark.parametrize("go", [True, False])
def test_it_does_what_it_was_told_before_it_came(turns: Turns, go: bool) -> None:
    turn = turns.next()
    turns.tell(turn, go=go)
    assert turn.wait() is go


def test_it_waits_until_it_is_told(turns: Turns) -> None:
    turn = turns.next()
    threading.Timer(0.1, turns.tell, (turn,), {"go": True}).start()
    assert turn.wait() is True


def test_with_no_word_in_time_it_leaves_everything_undone(turns: Turns) -> None:
    assert turns.next().wait(seconds=0.05) is False


def test_the_word_of_another_is_not_its_own(turns: Turns) -> None:
    first, *_, second = [turns.next() for _ in range(PIPES + 1)]
    assert first.pipe == second.pipe
    turns.tell(first, go=True)
    assert second.wait(seconds=0.05) is False


def test_what_a_killed_process_left_unread_is_passed_over(turns: Turns) -> None:
    killed, *_, turn = [turns.next() for _ in range(PIPES + 1)]
    turns.tell(killed, go=True)
    turns.tell(turn, go=False)
    assert turn.wait() is False


def test_a_process_that_was_forked_before_hears_it(turns: Turns) -> None:
    turn = turns.next()
    if (child := os.fork()) == 0:
        os._exit(7 if turn.wait() else 8)
    turns.tell(turn, go=True)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
