"""The steps of a random walk over faults in combination, in which order they come, and how a walk is written as a line.

Nothing here touches a server; `walk_world.py` does what the steps say.
"""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

WELL = "well"
#: Conditions of servers, links and workers other than well.
POSTGRES = ("away", "frozen", "read-only")
FULL_DISK = "full"
NO_ANSWERS = "without-answers"
#: `paused`: it takes no writes, as in the planned failover of a managed one. `without-answers`: another kind of key
#: stands in the place of the response stream.
REDIS = ("away", "frozen", "full", "paused", NO_ANSWERS)
BROKER = ("away", "frozen")
#: `stunned`: the processes of its pool do not stir.
WORKER = ("frozen", "killed", "stopped", "stunned")
#: `silent`: what is sent is lost and the connections stay open. `closed`: connections are reset and refused.
LINK = ("slow", "silent", "closed")
#: From a frozen worker on, what may come beside its going on.
FROM_FROZEN = ("killed",)

#: What may be sent. A large entry is refused for its size; it is the only one that fails.
SENDINGS = ("writes", "questions", "both", "large")
#: Momentary steps for a worker, and for a server that is well.
MOMENTARY = LOSES_A_PROCESS, CUT, LOCKED = "loses-a-process", "cut", "locked"
#: Seconds; the longest is longer than a lease lasts.
WAITS = (0.0, 0.1, 0.5, 1.5, 3.0, 7.0)
#: Kills in a round; three that meet one entry would be its fault.
MOST_KILLS = 2


class Step(NamedTuple):
    """`what` becomes `how`; or so many `commands` of a kind are sent; or some `seconds` pass."""

    what: str
    how: str

    def __str__(self) -> str:
        return f"{self.what} {self.how}"


CHECK = Step("check", "all")


class Setting(NamedTuple):
    """What stays the same over a walk."""

    ordering: str
    workers: int
    #: Whether Celery's broker is a Redis of its own.
    own_broker: bool = False
    #: Whether PostgreSQL's disk can be filled.
    small_disk: bool = False

    def __str__(self) -> str:
        words = [self.ordering, str(self.workers)]
        words += ["own-broker"] if self.own_broker else []
        words += ["small-disk"] if self.small_disk else []
        return " ".join(words)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The setting that `str` wrote."""
        ordering, workers, *more = text.split()
        return cls(ordering, int(workers), "own-broker" in more, "small-disk" in more)

    def conditions(self) -> dict[str, tuple[str, ...]]:
        """Everything that may be other than well, and how."""
        workers = range(self.workers)
        return {
            "postgres": POSTGRES + ((FULL_DISK,) if self.small_disk else ()),
            "redis": REDIS,
            **({"broker": BROKER} if self.own_broker else {}),
            **{f"worker-{number}": WORKER for number in workers},
            **{f"link-redis-{number}": LINK for number in workers},
            **{f"link-postgres-{number}": LINK for number in workers},
        }


def random_steps(setting: Setting, seed: str, length: int) -> list[Step]:
    """A round of a walk: `length` steps, then whatever leads back to all being well, in any order, then a check."""
    return list(_Round(setting, seed).steps(length))


def written(setting: Setting, steps: Sequence[Step]) -> str:
    """A walk as one line, which `parse` reads."""
    return f"{setting}: {'; '.join(map(str, steps))}"


def parse(line: str) -> tuple[Setting, list[Step]]:
    """What `written` wrote."""
    setting, _, steps = line.partition(":")
    words = [step.split() for step in steps.split(";")]
    return Setting.parse(setting), [Step(what, how) for what, how in words]


class _Round:
    """One round while it is made up."""

    def __init__(self, setting: Setting, seed: str) -> None:
        self.dice = random.Random(seed)
        self.possible = setting.conditions()
        self.now = dict.fromkeys(self.possible, WELL)
        # A round has faults of a few things, so that they meet: all would mostly hide each other.
        things = sorted(self.possible)
        self.things = self.dice.sample(things, min(len(things), self.dice.randint(2, 4)))
        self.sendings = self.dice.choice([("writes",), ("questions",), ("both",), SENDINGS])
        self.kills = 0

    def steps(self, length: int) -> Iterator[Step]:
        yield self._send()
        for _ in range(length):
            yield from self._one()
        bad = [what for what, how in self.now.items() if how != WELL]
        self.dice.shuffle(bad)
        for what in bad:
            yield Step(what, WELL)
            if self.dice.random() < 0.3:
                yield self._wait()
        yield CHECK

    def _one(self) -> Iterator[Step]:
        dice = self.dice.random()
        if dice < 0.3:
            yield self._send()
        elif dice < 0.4:
            yield from self._momentary()
        else:
            yield self._change()
            if self.dice.random() < 0.7:
                yield self._wait()

    def _change(self) -> Step:
        what = self.dice.choice(self.things)
        before = self.now[what]
        if before == WELL:
            how = self.dice.choice(self.possible[what])
        elif before == "frozen" and what.startswith("worker") and self.dice.random() < 0.3:
            how = self.dice.choice(FROM_FROZEN)
        else:
            how = WELL
        if how == "killed":
            if self.kills >= MOST_KILLS:
                how = "stopped" if before == WELL else WELL
            self.kills += 1
        self.now[what] = how
        return Step(what, how)

    def _momentary(self) -> Iterator[Step]:
        well = [what for what, how in self.now.items() if how == WELL]
        workers = [what for what in well if what.startswith("worker")]
        kind = self.dice.choice(MOMENTARY)
        if kind == LOSES_A_PROCESS and workers and self.kills < MOST_KILLS:
            self.kills += 1
            yield Step(self.dice.choice(workers), LOSES_A_PROCESS)
        elif kind == CUT:
            servers = [what for what in ("postgres", "redis") if what in well]
            yield from [Step(self.dice.choice(servers), CUT)] if servers else []
        elif kind == LOCKED and "postgres" in well:
            yield Step("postgres", LOCKED)

    def _send(self) -> Step:
        kind = self.dice.choice(self.sendings)
        return Step(kind, str(self.dice.choice((1, 3) if kind == "large" else (1, 1, 2, 30, 300, 600))))

    def _wait(self) -> Step:
        return Step("wait", str(self.dice.choice(WAITS)))
