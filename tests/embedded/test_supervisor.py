from dbstorage.embedded.supervisor import Supervisor
from dbstorage.errors import EmbeddedServerError


class ScriptedPart:
    """Ends with the given exit codes, one for each start; None runs on."""

    def __init__(self, name: str, exit_codes: list[int | None], diary: list[str], refuses: list[int] | None = None):
        self.name = name
        self.exit_codes = exit_codes
        self.diary = diary
        self.refuses = refuses or []
        self.starts = 0

    def start(self) -> None:
        self.starts += 1
        if self.starts in self.refuses:
            raise EmbeddedServerError(f"{self.name} does not start")
        self.diary.append(f"{self.name} starts")

    def poll(self) -> int | None:
        return self.exit_codes[self.starts - 1]

    def stop(self) -> None:
        self.diary.append(f"{self.name} stops")


def test_parts_stop_in_the_opposite_order():
    diary: list[str] = []
    supervisor = Supervisor(diary.append)
    for name in ("server", "worker"):
        supervisor.start(ScriptedPart(name, [None], diary))
    supervisor.stop()
    assert diary == ["server starts", "worker starts", "worker stops", "server stops"]


def test_a_part_that_could_not_be_started_is_stopped_too():
    diary: list[str] = []
    supervisor = Supervisor(diary.append)
    try:
        supervisor.start(ScriptedPart("server", [None], diary, refuses=[1]))
    except EmbeddedServerError:
        supervisor.stop()
    assert diary == ["server stops"]


def test_what_ends_by_itself_is_started_again_with_growing_pauses_until_a_setting_is_wrong():
    diary: list[str] = []
    supervisor = Supervisor(diary.append)
    supervisor.start(ScriptedPart("worker", [-9, 1, 2], diary, refuses=[2]))
    assert supervisor.watch() == 2
    assert diary == [
        "worker starts",
        "worker ended by itself (signal SIGKILL); starting it again in 1 s.",
        "worker does not start; starting it again in 2 s.",
        "worker starts",
        "worker cannot work with its settings.",
    ]
