def printable(text: str) -> str:
    r"""The text with line ends, control and other invisible characters written as `\n`, `\x1b` or `\u202e`.

    Text of strangers then does nothing to a terminal, begins no line and reads in no other direction than it stands.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
