"""What the kernel says about a process."""

from pathlib import Path


def capabilities(pid: int) -> int:
    """Rights of root's that the process has or can get, as bits; Linux only."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["CapEff"], 16) | int(lines["CapPrm"], 16) | int(lines["CapAmb"], 16) | int(lines["CapInh"], 16)
