"""What a pool process does with a batch.

    jobs          job.py (entries of the stream), call.py (a command through the broker), turn.py (waiting to begin),
                  ahead.py (orders that are written while the batch before them commits),
                  outages.py (which outage an error stands for)
    transactions  batch_writer.py (splits what is refused), transaction.py, segments.py, resources.py (connections)
    Redis         answers.py (acknowledging and answering), alone.py (poison detection)

Every job ends in a `Report` for the main process.
"""
