"""What is written and read, as statements and rules; the room `batch` runs them in transactions.

    orders     orders.py, order_outcomes.py (as outcomes), waiting.py (those that come before their user), array_text.py
    users      users.py, people.py (who has which userID at each place of a batch), locks.py (rows that others lock)
    questions  history.py
    failures   failures.py (new ones), retries.py (those that run again), backoff.py (when), refused.py (whose fault)
    a batch    work.py (an entry on its way), outcome.py, writes.py (users first, then orders), registered.py
    service    service.py (the stream's life, and whether this is our database)

docs/architecture.md follows an order, a question and a failure through these files.
"""
