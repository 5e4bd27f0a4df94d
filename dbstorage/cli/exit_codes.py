"""The exit codes that several subcommands share; 1 means something else in each of them, as its `--help` says."""

#: Wrong usage, or a setting that is wrong.
WRONG_USAGE = 2
#: Redis or PostgreSQL cannot be used.
UNAVAILABLE = 3
#: A person was asked whether to go on, and did not say yes.
NOT_CONFIRMED = 4
#: Ended by Ctrl-C.
INTERRUPTED = 130
