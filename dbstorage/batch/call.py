"""A command that came through the broker, one at a time."""

from dbstorage.batch.answers import answer_call
from dbstorage.batch.batch_writer import BatchWriter
from dbstorage.batch.job import answer_to
from dbstorage.batch.resources import Resources
from dbstorage.batch.transaction import open_database, without_transaction
from dbstorage.codes import UNAVAILABLE
from dbstorage.commands.questions import HistoryQuestion
from dbstorage.storage import history
from dbstorage.storage.outcome import ANSWERED, Outcome, Status
from dbstorage.storage.refused import Refused
from dbstorage.storage.work import Work, understand_request
from dbstorage.wire.entry import Request
from dbstorage.wire.response import encode_answer

NEEDS_REQUEST_ID = Outcome(
    Status.FAILED,
    "missing_request_id",
    "A question that does not come from the stream needs a requestId, so that its answer can be found.",
)


def run_call(resources: Resources, request: Request, task_id: str) -> Outcome:
    """Run a command that has no entry; a failed write is recorded under its task id.

    Raises DatabaseUnavailableError and RedisUnavailableError.
    """
    work = understand_request(request, resources.settings.history_limit)
    work.task_id = task_id
    if isinstance(work.command, HistoryQuestion):
        return _answer(resources, work, work.command)
    open_database(resources)
    writer = BatchWriter(resources)
    writer.run([work])
    assert work.outcome is not None
    return work.outcome


def _answer(resources: Resources, work: Work, question: HistoryQuestion) -> Outcome:
    if question.request_id is None:
        return NEEDS_REQUEST_ID
    try:
        [page] = without_transaction(
            resources,
            lambda connection: history.read_pages(connection, resources.shape(connection), [question]),
        )
    except Refused:
        page = history.Page(error=UNAVAILABLE)
    answer_call(resources.redis, resources.settings, encode_answer(answer_to(work, page)))
    return ANSWERED if page.error is None else ANSWERED._replace(code=page.error)
