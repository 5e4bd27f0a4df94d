import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbstorage.operating.verdict import Facts, Pause, Standing, Waiting, caught_up_in, duration, judge

#: 2026-05-05T22:08:46Z
NOW = 1_778_018_926.0
REFUSED = "The database cannot be used: connection refused."
GOOD = Facts(now=NOW, readers=1, unread=0, pending=0, oldest_unread_seconds=0.0, oldest_pending_seconds=0.0)
BEHIND = replace(GOOD, unread=39_000, pending=1_000, oldest_unread_seconds=40.0, oldest_pending_seconds=46.0)
FEWER = (Waiting(NOW - 20, 50_000), Waiting(NOW - 10, 45_000), Waiting(NOW, 40_000))


@pytest.mark.parametrize(
    ("facts", "standing", "exit_code", "sentence"),
    [
        (GOOD, Standing.FINE, 0, "fine"),
        (replace(GOOD, standbys=1), Standing.FINE, 0, "fine, 1 worker stands by"),
        (replace(GOOD, standbys=2, unread=1), Standing.FINE, 0, "fine: 1 entry waits, 2 workers stand by"),
        (replace(GOOD, pending=500, oldest_pending_seconds=9.9), Standing.FINE, 0, "fine: 500 entries wait"),
        (replace(GOOD, readers=None), Standing.FINE, 0, "fine"),
        (
            replace(BEHIND, trend=FEWER), Standing.BEHIND, 1,
            "behind 46 s since 22:08Z: 40,000 entries wait, caught up in about 80 s",
        ),
        (
            replace(BEHIND, trend=FEWER[:1]), Standing.BEHIND, 1,
            "behind 46 s since 22:08Z: 40,000 entries wait",
        ),
        (
            replace(BEHIND, trend=(Waiting(NOW - 20, 1), Waiting(NOW, 2))), Standing.BEHIND, 1,
            "behind 46 s since 22:08Z: 40,000 entries wait, and they do not get fewer",
        ),
        (
            replace(BEHIND, holding="the id sequence lags.", holding_since=NOW - 120), Standing.BEHIND, 1,
            "behind 46 s since 22:08Z: the id sequence lags; 40,000 entries wait, the oldest for 46 s",
        ),
        (
            replace(GOOD, holding="the broker does not answer", holding_since=NOW - 120), Standing.BEHIND, 1,
            "nothing can be stored since 22:06Z: the broker does not answer",
        ),
        (replace(GOOD, readers=0), Standing.UNREAD, 1, "nobody reads: no worker runs"),
        (
            replace(GOOD, lost=4_500, standbys=1), Standing.LOST, 1,
            "4,500 entries were trimmed from the stream before anybody read them: have them sent again, "
            "then say so with `dbstorage status --acknowledge`",
        ),
        (
            replace(GOOD, lost=1, standbys=1), Standing.LOST, 1,
            "1 entry was trimmed from the stream before anybody read it: have it sent again, "
            "then say so with `dbstorage status --acknowledge`",
        ),
        (replace(BEHIND, lost=1, readers=0), Standing.UNREAD, 1,
            "nobody reads: no worker runs; 40,000 entries wait, the oldest for 46 s",
        ),
        (
            replace(GOOD, readers=0, aside=("w@a",), stream="s"), Standing.UNREAD, 1,
            "nobody reads: w@a was told by an operator to stand by (cancel_consumer); "
            "`celery -A dbstorage control add_consumer s` ends that",
        ),
        (
            replace(BEHIND, readers=0, aside=("w@a", "v@b"), stream="the stream"), Standing.UNREAD, 1,
            "nobody reads: w@a and v@b were told by an operator to stand by (cancel_consumer); "
            "`celery -A dbstorage control add_consumer 'the stream'` ends that; "
            "40,000 entries wait, the oldest for 46 s",
        ),
        (
            replace(GOOD, readers=0, standbys=1, aside=("w@a",)), Standing.UNREAD, 1,
            "nobody reads: 1 worker stands by, and none has taken over yet",
        ),
        (
            replace(GOOD, standbys=1, aside=("w@a",)), Standing.FINE, 0,
            "fine, 1 worker stands by, w@a was told by an operator to stand by",
        ),
        (
            replace(GOOD, aside=("a@a", "b@b", "c@c")), Standing.FINE, 0,
            "fine, 3 workers were told by an operator to stand by",
        ),
        (
            replace(BEHIND, readers=0), Standing.UNREAD, 1,
            "nobody reads: no worker runs; 40,000 entries wait, the oldest for 46 s",
        ),
        (
            replace(BEHIND, pause=Pause("a new disk.", "joe", NOW - 7200)), Standing.PAUSED, 1,
            "paused since 20:08Z by joe: a new disk; 40,000 entries wait, the oldest for 46 s",
        ),
        (
            replace(GOOD, pause=Pause("a new disk", "joe", NOW - 86_400)), Standing.PAUSED, 1,
            "paused since 2026-05-04 22:08Z by joe: a new disk",
        ),
        (
            replace(GOOD, pause=Pause("a new disk", "joe", NOW), active=("w@a",), resting=("v@a",)),
            Standing.PAUSED, 1, "paused since 22:08Z by joe: a new disk; w@a has not followed yet",
        ),
        (
            replace(BEHIND, pause=Pause("a new disk", "joe", NOW), active=("a", "b", "c")), Standing.PAUSED, 1,
            "paused since 22:08Z by joe: a new disk; 3 workers have not followed yet; "
            "40,000 entries wait, the oldest for 46 s",
        ),
        (
            replace(GOOD, resting=("w@a", "v@a")), Standing.BEHIND, 1,
            "nothing can be stored: the pause is over, and w@a and v@a have not followed yet",
        ),
        (
            replace(BEHIND, resting=("w@a",)), Standing.BEHIND, 1,
            "behind 46 s since 22:08Z: the pause is over, and w@a has not followed yet; "
            "40,000 entries wait, the oldest for 46 s",
        ),
        (replace(GOOD, resting=("w@a",), active=("v@a",)), Standing.FINE, 0, "fine"),
        (
            replace(GOOD, silent_sentinels="a:1 does not answer"), Standing.FINE, 0,
            "fine, no sentinel answers (a:1 does not answer): work goes on with the master that they named last",
        ),
        (
            Facts(now=NOW, redis_problem="It cannot.", silent_sentinels="a:1 does not answer"), Standing.AWAY, 3,
            "unknown: No sentinel answers, so the master cannot be found: a:1 does not answer. "
            "Workers that know the master go on with it; one that starts has to wait",
        ),
        (replace(GOOD, database_problem=REFUSED), Standing.AWAY, 3, "nothing can be stored: " + REFUSED[:-1]),
        (
            replace(BEHIND, database_problem=REFUSED, readers=0), Standing.AWAY, 3,
            f"behind 46 s since 22:08Z: {REFUSED[:-1]}; 40,000 entries wait, the oldest for 46 s",
        ),
        (
            replace(BEHIND, redis_refusal="Redis is full: raise maxmemory."), Standing.AWAY, 3,
            "Redis does not take everything: Redis is full: raise maxmemory; 40,000 entries wait, the oldest for 46 s",
        ),
        (
            Facts(now=NOW, redis_problem="Redis cannot be used: timeout."), Standing.AWAY, 3,
            "nothing is read: Redis cannot be used: timeout",
        ),
        (
            Facts(now=NOW, redis_problem="Redis cannot be used: timeout.", database_problem=REFUSED), Standing.AWAY, 3,
            f"nothing is read: Redis cannot be used: timeout; {REFUSED[:-1]}",
        ),
        (replace(GOOD, oldest_unread_seconds=10.0, unread=1), Standing.FINE, 0, "fine: 1 entry waits"),
        (
            replace(GOOD, unread=1, redis_refusal="Redis is full."), Standing.AWAY, 3,
            "Redis does not take everything: Redis is full; 1 entry waits",
        ),
        (
            replace(GOOD, unread=1, database_problem=REFUSED), Standing.AWAY, 3,
            f"nothing can be stored: {REFUSED[:-1]}",
        ),
    ],
)  # fmt: skip
def test_the_verdict_on_what_is_known(facts: Facts, standing: Standing, exit_code: int, sentence: str):
    verdict = judge(facts)
    assert verdict.standing is standing
    assert verdict.exit_code == exit_code
    assert verdict.sentence.replace("\n", " ") == sentence


@pytest.mark.parametrize(
    ("facts", "since"),
    [
        (GOOD, None),
        (BEHIND, NOW - 46),
        (replace(BEHIND, holding="the id sequence lags", holding_since=NOW - 120), NOW - 120),
        (replace(BEHIND, database_problem=REFUSED), NOW - 46),
        (replace(GOOD, holding="the broker is away", holding_since=NOW - 120), NOW - 120),
        (replace(GOOD, database_problem=REFUSED), None),
        (replace(BEHIND, redis_refusal="Redis is full."), NOW - 46),
        (replace(GOOD, redis_refusal="Redis is full."), None),
        (replace(BEHIND, pause=Pause("a new disk", "joe", NOW - 7200)), NOW - 7200),
        (replace(BEHIND, readers=0), NOW - 46),
        (replace(GOOD, readers=0), None),
    ],
)
def test_the_verdict_knows_since_when_it_holds(facts: Facts, since: float | None):
    assert judge(facts).since == since


def test_its_clock_is_utc_wherever_it_is_asked(monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "JST-9")
        time.tzset()
        sentences = [judge(replace(GOOD, pause=Pause("x", "joe", NOW - past))).sentence for past in (0, 86_400)]
    time.tzset()
    assert sentences == ["paused since 22:08Z by joe: x", "paused since 2026-05-04 22:08Z by joe: x"]


def test_who_is_behind_is_told_when_that_ends_as_a_number_too():
    assert judge(replace(BEHIND, trend=FEWER)).caught_up_in == 80
    assert judge(BEHIND).caught_up_in is None


NUMBERS = st.none() | st.integers(0, 10**9)
AGES = st.none() | st.floats(0, 10**9)
ANY_FACTS = st.builds(
    Facts,
    now=st.floats(10**9, 3 * 10**9),
    redis_problem=st.none() | st.text(),
    redis_refusal=st.none() | st.text(),
    database_problem=st.none() | st.text(),
    pause=st.none() | st.builds(Pause, st.text(), st.text(), st.floats(0, 3 * 10**9)),
    readers=st.none() | st.integers(0, 5),
    standbys=st.integers(0, 5),
    aside=st.lists(st.text(), max_size=4),
    stream=st.text(),
    holding=st.none() | st.text(),
    holding_since=st.none() | st.floats(0, 3 * 10**9),
    unread=NUMBERS,
    pending=NUMBERS,
    oldest_unread_seconds=AGES,
    oldest_pending_seconds=AGES,
    lost=st.integers(0, 10**9),
    trend=st.lists(st.builds(Waiting, st.floats(0, 3 * 10**9), st.integers(0, 10**9)), max_size=5),
)


@settings(deadline=None)
@given(ANY_FACTS)
def test_whatever_is_known_there_is_a_verdict_and_fine_means_that_nothing_is_wrong(facts: Facts):
    verdict = judge(facts)
    assert verdict.sentence
    wrong = facts.redis_problem, facts.redis_refusal, facts.database_problem, facts.pause, facts.holding
    fine = all(one is None for one in wrong) and facts.readers != 0 and not facts.lost and facts.oldest_seconds <= 10
    assert (verdict.standing is Standing.FINE) == fine == (verdict.exit_code == 0)


def test_no_end_is_promised_without_two_moments_or_while_it_gets_worse():
    assert caught_up_in(()) is None
    assert caught_up_in(FEWER[:1]) is None
    assert caught_up_in((Waiting(NOW - 10, 5), Waiting(NOW, 5))) is None
    # What was an hour ago says nothing of now.
    assert caught_up_in((Waiting(NOW - 3600, 10**6), Waiting(NOW - 10, 5), Waiting(NOW, 6))) is None
    assert caught_up_in((Waiting(NOW - 10, 5), Waiting(NOW, 0))) == 0
    assert caught_up_in((Waiting(NOW - 10, 5), Waiting(NOW, 4))) == 40
    # Two minutes count, both ends included.
    assert caught_up_in((Waiting(NOW - 120, 20), Waiting(NOW, 10))) == 120
    # A clock that was set back in between.
    assert caught_up_in((Waiting(NOW, 20), Waiting(NOW + 5, 12), Waiting(NOW, 10))) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3600, "60 min"),
        (5340, "89 min"),
        (5400, "1 h 30 min"),
        (7200, "2 h"),
        (7500, "2 h 5 min"),
        (172_740, "47 h 59 min"),
        (172_800, "2 d"),
        (3_456_000, "40 d"),
    ],
)
def test_durations_as_a_person_says_them(seconds: float, words: str):
    assert duration(seconds) == words
