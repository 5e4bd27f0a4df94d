"""Waiting until a retry is through, and saying how it went."""

import time
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Connection

from dbstorage.cli.output import say
from dbstorage.cli.progress import progress_bar
from dbstorage.failed_tasks.filters import State
from dbstorage.failed_tasks.progress import count_states
from dbstorage.settings import Scope

POLL_SECONDS = 0.5
#: After so long without any progress a person wants to know why.
HINT_SECONDS = 10.0


def wait_for_retries(connection: Connection, scope: Scope, ids: Sequence[int]) -> Counter[State]:
    """Wait until none of these tasks is retrying any more, or Ctrl-C; how many are in which state then.

    Raises what `connected` makes a sentence of.
    """
    states = count_states(connection, scope, ids)
    changed_at, hinted = time.monotonic(), False
    try:
        with progress_bar("Retried") as advance:
            while states[State.RETRYING]:
                advance(len(ids) - states[State.RETRYING], len(ids))
                time.sleep(POLL_SECONDS)
                before, states = states, count_states(connection, scope, ids)
                if states != before:
                    changed_at = time.monotonic()
                elif not hinted and time.monotonic() - changed_at > HINT_SECONDS:
                    hinted = True
                    say("Nothing happens: does a worker run? Ctrl-C ends the waiting, and not the retry.", err=True)
    except KeyboardInterrupt:
        say("The waiting ends here; the retry goes on.", err=True)
    return states


def in_words(states: Counter[State], number: int) -> str:
    """What became of so many retried tasks: `4,972 retried: 12 stored, 4,960 failed again.`"""
    words = {
        State.RESOLVED: "stored",
        State.FAILED: "failed again",
        State.DISCARDED: "discarded",
        State.RETRYING: "still to be tried",
    }
    parts = [f"{states[state]:,} {word}" for state, word in words.items() if states[state]]
    return f"{number:,} retried: {', '.join(parts) or 'their records are deleted'}."
