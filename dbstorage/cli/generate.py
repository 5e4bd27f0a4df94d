import sys

import click
import orjson

from dbstorage.traffic.generate import engine_commands

COUNT = click.IntRange(min=0)


@click.command()
@click.option("--seed", type=COUNT, default=1, show_default=True, help="Each seed makes other people and orders.")
@click.option("--users", type=click.IntRange(min=1), default=60, show_default=True, help="People who sign up.")
@click.option("--orders", type=COUNT, default=2000, show_default=True, help="Different orders that they close.")
@click.option("--questions", type=COUNT, help="Questions for a history, with a requestId. [default: 1 per 24 orders]")
@click.option("--users-again", type=COUNT, help="Sign-ups of a known person. [default: 1 per 5 users]")
@click.option("--orders-again", type=COUNT, help="Orders that come twice. [default: 1 per 160 orders]")
def generate(
    seed: int,
    users: int,
    orders: int,
    questions: int | None,
    users_again: int | None,
    orders_again: int | None,
) -> None:
    """Print made-up commands of a trading engine, one JSON object a line, for `dbstorage send`.

    The same options print the same lines: examples/sample.jsonl is what `dbstorage generate` prints by itself.
    """
    commands = engine_commands(
        seed,
        users,
        orders,
        questions=orders // 24 if questions is None else questions,
        users_again=users // 5 if users_again is None else users_again,
        orders_again=orders // 160 if orders_again is None else orders_again,
    )
    output = sys.stdout.buffer
    for command in commands:
        output.write(orjson.dumps(command) + b"\n")
