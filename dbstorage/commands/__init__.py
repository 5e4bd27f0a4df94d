"""The rules of the commands: decoding, validating, naming their tasks. Pure."""
