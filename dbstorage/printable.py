"""Text of strangers, fit for terminals, logs and dashboards."""

import re

# A quote, a bracket or a sign of Python's text of values ends an address.
_EMAIL = re.compile(r"[^\s'\"(<=,:\[{]+@[^\s'\")>,\]}]+")


def printable(text: str) -> str:
    r"""The text with line ends, control and other invisible characters written as `\n`, `\x1b` or `\u202e`.

    Text of strangers then does nothing to a terminal, begins no line and reads in no other direction than it stands.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def without_addresses(text: str) -> str:
    """The text with `***@***` in the place of e-mail addresses."""
    return _EMAIL.sub("***@***", text)
