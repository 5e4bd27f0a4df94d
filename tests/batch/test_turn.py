"""What a batch that was read ahead is told: that it may write, that its turn has come, that it has to give up.

Messages for other batches do not count.
"""

import os
import threading

import pytest

from dbstorage.batch.turn import PIPES, OvertakenError, PlaceInLine, Turns, WithdrawnError, Word


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.mark.parametrize(("go", "word"), [(True, Word.GO), (False, Word.GIVE_UP)])
def test_a_message_that_came_before_the_batch_counts(turns: Turns, go: bool, word: Word) -> None:
    turn = turns.next(ahead=True)
    turns.tell(turn, go=go)
    assert turn.hear() is word


def test_a_message_that_is_there_counts_even_when_there_is_no_time_left(turns: Turns) -> None:
    turn = turns.next(ahead=True)
    turns.tell(turn, go=True)
    assert turn.hear(seconds=-1.0) is Word.GO


def test_a_batch_waits_until_its_message_comes(turns: Turns) -> None:
    turn = turns.next(ahead=True)
    threading.Timer(0.1, turns.tell, (turn,), {"go": True}).start()
    PlaceInLine(turn).wait()


def test_a_batch_without_a_message_in_time_gives_up(turns: Turns) -> None:
    assert turns.next(ahead=True).hear(seconds=0.05) is Word.GIVE_UP


def test_a_message_for_another_batch_does_not_count(turns: Turns) -> None:
    first, *_, second = [turns.next(ahead=True) for _ in range(PIPES + 1)]
    assert first.pipe == second.pipe
    turns.tell(first, go=True)
    assert second.hear(seconds=0.05) is Word.GIVE_UP


def test_a_message_that_a_killed_process_left_unread_is_passed_over(turns: Turns) -> None:
    killed, *_, turn = [turns.next(ahead=True) for _ in range(PIPES + 1)]
    turns.tell(killed, go=True)
    turns.tell(turn, go=False)
    with pytest.raises(WithdrawnError):
        PlaceInLine(turn).wait()


def test_a_process_that_was_forked_before_gets_the_message(turns: Turns) -> None:
    turn = turns.next(ahead=True)
    if (child := os.fork()) == 0:
        os._exit(7 if turn.hear() is Word.GO else 8)
    turns.tell(turn, go=True)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7


def test_a_batch_may_write_once_the_one_before_it_commits_and_then_waits_for_its_turn(turns: Turns) -> None:
    before, behind = PlaceInLine(turns.next(ahead=False)), turns.next(ahead=True)
    before.commits()
    place = PlaceInLine(behind)
    assert place.may_write_ahead()
    threading.Timer(0.1, turns.tell, (behind,), {"go": True}).start()
    place.wait(writes_ahead=True)


def test_a_batch_whose_turn_has_come_does_not_write_ahead(turns: Turns) -> None:
    turn = turns.next(ahead=True)
    turns.tell(turn, go=True)
    place = PlaceInLine(turn)
    assert not place.may_write_ahead()
    place.wait()


def test_a_batch_that_writes_ahead_is_told_when_the_one_before_it_runs_again(turns: Turns) -> None:
    before, behind = PlaceInLine(turns.next(ahead=False)), turns.next(ahead=True)
    before.commits()
    place = PlaceInLine(behind)
    assert place.may_write_ahead()
    before.runs_again()
    with pytest.raises(OvertakenError):
        place.wait(writes_ahead=True)
    # That it commits now, after all, is nothing to this one any more, nor that it fails once more.
    before.commits()
    before.runs_again()
    turns.tell(behind, go=True)
    place.wait()


def test_a_batch_that_was_told_to_give_up_is_told_so_as_often_as_it_asks(turns: Turns) -> None:
    turn = turns.next(ahead=True)
    turns.tell(turn, go=False)
    place = PlaceInLine(turn)
    for _ in range(2):
        with pytest.raises(WithdrawnError):
            place.wait()


def test_messages_that_nobody_waits_for_leave_room_for_those_that_count(turns: Turns) -> None:
    """A worker whose batches come one by one has none that is ahead, for ever."""
    for _ in range(100_000):
        PlaceInLine(turns.next(ahead=False)).commits()
    turn = turns.next(ahead=True)
    turns.tell(turn, go=True)
    PlaceInLine(turn).wait()
