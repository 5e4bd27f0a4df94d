"""What Prisma's own schema engine sees of our migration."""

from pathlib import Path

from tests.prisma.conftest import Prisma

ADDED_INDEXES = {
    'CREATE INDEX "Orders_closeTime_idx" ON "public"."Orders"("closeTime" DESC)',
    'CREATE INDEX "Orders_userId_closeTime_idx" ON "public"."Orders"("userId" ASC, "closeTime" DESC)',
    'CREATE INDEX "Orders_userId_idx" ON "public"."Orders"("userId" ASC)',
}
#: What docs/migrating.md says to add to the model Orders.
INDEXES_IN_PRISMA = """
  @@index([userId])
  @@index([closeTime(sort: Desc)])
  @@index([userId, closeTime(sort: Desc)])
"""


def test_prisma_sees_nothing_but_added_indexes(prisma: Prisma):
    assert set(prisma.migrate_diff("schema", "database")) == ADDED_INDEXES
    back = prisma.migrate_diff("database", "schema")
    assert len(back) == len(ADDED_INDEXES)
    assert all(statement.startswith("DROP INDEX ") for statement in back)


def test_with_three_lines_more_in_its_schema_prisma_sees_no_difference(prisma: Prisma, tmp_path: Path):
    schema = prisma.schema_file.read_text()
    end = schema.rindex("}")
    indexed = tmp_path / "schema.prisma"
    indexed.write_text(schema[:end] + INDEXES_IN_PRISMA + schema[end:])
    assert prisma.migrate_diff("schema", "database", indexed) == []
    assert prisma.migrate_diff("database", "schema", indexed) == []
    guide = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text()
    assert INDEXES_IN_PRISMA.strip() in guide
