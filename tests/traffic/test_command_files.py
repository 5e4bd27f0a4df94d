import io
from pathlib import Path

import pytest

from dbstorage.traffic.command_files import check_lines, open_commands, read_lines
from dbstorage.wire.entry import Layout


def check(content: bytes, layout: Layout = Layout.ENVELOPE) -> list[str]:
    return check_lines(io.BytesIO(content), layout).faults


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_lines_come_without_their_ends_and_as_often_as_wanted(end: bytes):
    file = io.BytesIO(b'{"a": 1}\n{"b": "\xc3\xa9"}' + end)
    assert list(read_lines(file)) == list(read_lines(file)) == [b'{"a": 1}', b'{"b": "\xc3\xa9"}']


def test_each_wrong_line_is_named_with_what_is_wrong():
    assert check(b'{"a":1}\n\n  \n[1]\n"x"\n{"a":') == [
        "Line 2 is empty.",
        "Line 3 is empty.",
        "Line 4 is JSON but not an object.",
        "Line 5 is JSON but not an object.",
        "Line 6 is not JSON (Expecting value: line 1 column 6 (char 5)).",
    ]


def test_bytes_that_are_no_utf_8_are_not_json():
    [fault] = check(b'{"a":"\xff"}\n')
    assert fault.startswith("Line 1 is not JSON (")


def test_only_the_first_wrong_lines_are_named_and_all_are_counted():
    checked = check_lines(io.BytesIO(b"x\n" * 1000 + b"{}\n"), Layout.ENVELOPE)
    assert checked.lines == 1001
    assert checked.fault_count == 1000
    assert len(checked.faults) == 5


def test_what_only_the_service_is_to_judge_is_no_fault():
    assert check(b'{"function":"dropTables"}\n{"message":NaN}\n{}\n{"userId":"\\ud800"}\n') == []


def test_a_line_without_a_function_cannot_be_written_in_the_flat_layout():
    assert check(b'{"function":"createUser"}\n{"message":{}}\n{"function":null}\n', Layout.FLAT) == [
        "Line 2 has no function, by which the flat layout is told from the other.",
        "Line 3 has no function, by which the flat layout is told from the other.",
    ]


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path):
    with pytest.raises(OSError, match="No such file"):
        open_commands(str(tmp_path / "nothing"))
    with pytest.raises(OSError, match="Is a directory"):
        open_commands(str(tmp_path))
