import re
from pathlib import Path

from dbstorage.failed_tasks.advice import advice

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def test_the_advice_is_that_of_the_documentation():
    [section] = re.findall(
        r"^## Why did this order fail\?\n(.*?)^## ", OPERATIONS.read_text(), re.MULTILINE | re.DOTALL
    )
    rows = re.findall(r"^\| (`[a-z_…]+`.*?) \| .* \| (.*) \|$", section, re.MULTILINE)
    documented = {code: text for codes, text in rows for code in re.findall(r"`([a-z_…]+)`", codes)}
    assert set(documented) > {"user_not_found", "order_conflict", "user_conflict", "database_error", "poison"}
    assert {code: advice(code) for code in documented} == documented
