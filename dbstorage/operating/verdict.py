"""Decides how the service stands, as one word and one sentence, from plain figures.

`dbstorage status`, the page Service, the banner on Flower's pages and the metrics all ask `judge`, so that no two of
them can say different things.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from shlex import quote
from typing import NamedTuple

#: An entry may wait for so many seconds before the service counts as behind.
BEHIND_SECONDS = 10.0
#: Seconds over which the trend is measured: whether the number of waiting entries falls.
TREND_SECONDS = 120.0
#: The most workers that a sentence names.
MOST_NAMED = 2


class Standing(StrEnum):
    """How the service stands, the worst first."""

    #: Redis, PostgreSQL or a separate broker cannot be used, or Redis refuses some of our commands.
    AWAY = "away"
    #: An operator has paused it.
    PAUSED = "paused"
    #: No worker reads the stream.
    UNREAD = "unread"
    #: Entries wait for longer than they should, or cannot be stored.
    BEHIND = "behind"
    #: Entries were trimmed before anybody read them, and no operator has said that it is known.
    LOST = "lost"
    FINE = "fine"


#: The exit code of `dbstorage status`.
EXIT_CODES = {
    Standing.FINE: 0,
    Standing.LOST: 1,
    Standing.BEHIND: 1,
    Standing.UNREAD: 1,
    Standing.PAUSED: 1,
    Standing.AWAY: 3,
}


class Pause(NamedTuple):
    """An operator's pause: why, who began it, and when, in seconds since 1970."""

    reason: str
    who: str
    since: float


class Waiting(NamedTuple):
    """How many entries waited at a moment, in seconds since 1970."""

    at: float
    entries: int


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known at one moment; None where it could not be asked. Ages in seconds, moments in seconds since 1970."""

    now: float
    #: Why Redis, or the stream in it, cannot be used; a sentence.
    redis_problem: str | None = None
    #: What Redis refuses, although the stream in it can be read and worked off; a sentence.
    redis_refusal: str | None = None
    #: Which sentinels do not answer, where that is all of them. Workers that know the master go on with it; who does
    #: not know it, as a command that begins just now, cannot use Redis.
    silent_sentinels: str | None = None
    #: Why PostgreSQL, or our tables in it, cannot be used; a sentence.
    database_problem: str | None = None
    #: Why a broker of its own, without which the workers stand still, does not answer; a sentence.
    broker_problem: str | None = None
    pause: Pause | None = None
    #: Workers that read the stream, and those that would take over.
    readers: int | None = None
    standbys: int = 0
    #: Of those that read: who does not follow a pause (yet), and who does.
    active: Sequence[str] = ()
    resting: Sequence[str] = ()
    #: Workers that an operator has told to stand by (`cancel_consumer`): they do not take over.
    aside: Sequence[str] = ()
    #: The command stream's name.
    stream: str = ""
    #: Why the reader stores nothing, as it says itself, and since when.
    holding: str | None = None
    holding_since: float | None = None
    #: Unread entries (at least so many, where not all were counted), and entries that were read and are not finished.
    unread: int | None = None
    pending: int | None = None
    oldest_unread_seconds: float | None = None
    oldest_pending_seconds: float | None = None
    #: Entries that were trimmed before anybody read them, and that no operator has acknowledged.
    lost: int = 0
    #: How many entries waited lately, the oldest moment first.
    trend: Sequence[Waiting] = ()

    @property
    def waiting(self) -> int:
        """Entries that are not finished, as far as is known."""
        return (self.unread or 0) + (self.pending or 0)

    @property
    def oldest_seconds(self) -> float:
        """The age of the oldest entry that is not finished; 0 without one."""
        return max(self.oldest_unread_seconds or 0.0, self.oldest_pending_seconds or 0.0)


class Verdict(NamedTuple):
    """How the service stands; `since` in seconds since 1970 where it is known, `caught_up_in` in seconds."""

    standing: Standing
    sentence: str
    since: float | None = None
    caught_up_in: float | None = None

    @property
    def exit_code(self) -> int:
        """The exit code of `dbstorage status`."""
        return EXIT_CODES[self.standing]


def judge(facts: Facts) -> Verdict:
    """Decide how the service stands. The cases are tried in this order, and the first that applies counts."""
    if facts.redis_problem is not None and facts.silent_sentinels is not None:
        database = f"; {_inner(facts.database_problem)}" if facts.database_problem else ""
        return Verdict(Standing.AWAY, f"unknown: {_inner(no_sentinel(facts.silent_sentinels))}{database}")
    if facts.redis_problem is not None:
        problems = [facts.redis_problem, *([facts.database_problem] if facts.database_problem else [])]
        return Verdict(Standing.AWAY, f"nothing is read: {'; '.join(map(_inner, problems))}")
    if facts.database_problem is not None:
        return _held(facts, Standing.AWAY, facts.database_problem)
    if facts.broker_problem is not None:
        return _held(facts, Standing.AWAY, facts.broker_problem)
    if facts.redis_refusal is not None:
        sentence = f"Redis does not take everything: {_inner(facts.redis_refusal)}{_wait(facts)}"
        return Verdict(Standing.AWAY, sentence, _oldest_since(facts))
    if facts.pause is not None:
        since = facts.pause.since
        asked = f"paused since {_clock(since, facts.now)} by {facts.pause.who}: {_inner(facts.pause.reason)}"
        followed = f"; {_not_followed(facts.active)}" if facts.active else ""
        return Verdict(Standing.PAUSED, f"{asked}{followed}{_wait(facts)}", since)
    if facts.readers == 0:
        return Verdict(Standing.UNREAD, f"nobody reads: {_why_unread(facts)}{_wait(facts)}", _oldest_since(facts))
    if facts.holding is not None:
        return _held(facts, Standing.BEHIND, facts.holding)
    if facts.resting and not facts.active:
        return _held(facts, Standing.BEHIND, f"the pause is over, and {_not_followed(facts.resting)}")
    if facts.oldest_seconds > BEHIND_SECONDS:
        seconds = caught_up_in(facts.trend)
        since = facts.now - facts.oldest_seconds
        if seconds is not None:
            outlook = f", caught up in about {duration(seconds)}"
        else:
            outlook = ", and they do not get fewer" if len(facts.trend) > 1 else ""
        return Verdict(Standing.BEHIND, f"{_behind(facts)}{_count(facts)}{outlook}", since, seconds)
    if facts.lost:
        gone, them = ("1 entry was", "it") if facts.lost == 1 else (f"{facts.lost:,} entries were", "them")
        sentence = (
            f"{gone} trimmed from the stream before anybody read {them}: have {them} sent again, then say so with "
            "`dbstorage status --acknowledge`"
        )
        return Verdict(Standing.LOST, sentence)
    return Verdict(Standing.FINE, _fine(facts))


def caught_up_in(trend: Sequence[Waiting]) -> float | None:
    """Seconds until nothing waits any more, by the trend; None where the number of waiting entries does not fall."""
    recent = [point for point in trend if point.at >= trend[-1].at - TREND_SECONDS]
    if len(recent) < 2 or recent[-1].at <= recent[0].at:
        return None
    fewer = recent[0].entries - recent[-1].entries
    if fewer <= 0:
        return None
    return recent[-1].entries * (recent[-1].at - recent[0].at) / fewer


def duration(seconds: float) -> str:
    """A time as a person says it: `46 s`, `3 min`, `2 h 5 min`, `4 d`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{round(hours / 24)} d"


def _held(facts: Facts, standing: Standing, reason: str) -> Verdict:
    """The verdict where nothing can be stored, for a reason that a server or a worker gives."""
    if facts.waiting and facts.oldest_seconds:
        since = facts.holding_since or facts.now - facts.oldest_seconds
        return Verdict(standing, f"{_behind(facts)} {_inner(reason)}{_wait(facts)}", since)
    since_known = f" since {_clock(facts.holding_since, facts.now)}" if facts.holding_since else ""
    return Verdict(standing, f"nothing can be stored{since_known}: {_inner(reason)}", facts.holding_since)


def _behind(facts: Facts) -> str:
    since = facts.now - facts.oldest_seconds
    return f"behind {duration(facts.oldest_seconds)} since {_clock(since, facts.now)}:"


def without_sentinels(silence: str) -> str:
    """What is said of silent sentinels where work goes on without them."""
    return f"no sentinel answers ({silence}): work goes on with the master that they named last"


def no_sentinel(silence: str) -> str:
    """What is said of silent sentinels where nobody has named the master before."""
    return (
        f"No sentinel answers, so the master cannot be found: {silence}. Workers that know the master go on with it; "
        "one that starts has to wait."
    )


def _fine(facts: Facts) -> str:
    words = ["fine"]
    if facts.waiting:
        words = [f"fine:{_count(facts)}"]
    if facts.standbys:
        words.append(_standbys(facts))
    if facts.aside:
        words.append(f"{_named(facts.aside)} told by an operator to stand by")
    if facts.silent_sentinels is not None:
        words.append(without_sentinels(facts.silent_sentinels))
    return ", ".join(words)


def _why_unread(facts: Facts) -> str:
    if facts.standbys:
        return f"{_standbys(facts)}, and none has taken over yet"
    if facts.aside:
        return (
            f"{_named(facts.aside)} told by an operator to stand by (cancel_consumer); "
            f"`celery -A dbstorage control add_consumer {quote(facts.stream)}` ends that"
        )
    return "no worker runs"


def _standbys(facts: Facts) -> str:
    return "1 worker stands by" if facts.standbys == 1 else f"{facts.standbys} workers stand by"


def _not_followed(names: Sequence[str]) -> str:
    """That these workers do not do yet what an operator has asked for: they look every second."""
    if len(names) > MOST_NAMED:
        return f"{len(names)} workers have not followed yet"
    return f"{' and '.join(names)} {'has' if len(names) == 1 else 'have'} not followed yet"


def _named(names: Sequence[str]) -> str:
    if len(names) > MOST_NAMED:
        return f"{len(names)} workers were"
    return f"{' and '.join(names)} {'was' if len(names) == 1 else 'were'}"


def _count(facts: Facts) -> str:
    return " 1 entry waits" if facts.waiting == 1 else f" {facts.waiting:,} entries wait"


def _wait(facts: Facts) -> str:
    if not facts.waiting:
        return ""
    oldest = f", the oldest for {duration(facts.oldest_seconds)}" if facts.oldest_seconds else ""
    return f";{_count(facts)}{oldest}"


def _oldest_since(facts: Facts) -> float | None:
    return facts.now - facts.oldest_seconds if facts.oldest_seconds else None


def _clock(moment: float, now: float) -> str:
    """The moment in UTC: the time of day, with its day where that is not today's."""
    at, today = datetime.fromtimestamp(moment, UTC), datetime.fromtimestamp(now, UTC)
    return f"{at:%H:%M}Z" if at.date() == today.date() else f"{at:%Y-%m-%d %H:%M}Z"


def _inner(sentence: str) -> str:
    """A sentence without its full stop, as a part of another one."""
    return sentence.removesuffix(".")
