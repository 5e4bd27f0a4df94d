"""The diagrams of states in docs/architecture.md, as data."""

import re
from pathlib import Path
from typing import NamedTuple

PAGE = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()
#: What a diagram begins and ends with.
OUTSIDE = "[*]"


class Transition(NamedTuple):
    """An arrow, and what stands beside it."""

    before: str
    after: str
    label: str


class Diagram(NamedTuple):
    """The arrows, and which states are drawn within another one: inner state -> outer state."""

    transitions: list[Transition]
    within: dict[str, str]

    @property
    def states(self) -> set[str]:
        return {state for arrow in self.transitions for state in arrow[:2]} - {OUTSIDE}

    def arrows(self) -> set[tuple[str, str]]:
        """Without those that lead in and out."""
        return {(before, after) for before, after, _ in self.transitions if OUTSIDE not in (before, after)}

    def seen_from_outside(self, state: str) -> str:
        return self.within.get(state, state)


def diagrams(section: str) -> list[Diagram]:
    """The diagrams of the section with this heading."""
    [text] = re.findall(rf"^### {re.escape(section)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return [_read(block) for block in re.findall(r"^```mermaid\nstateDiagram-v2\n(.*?)^```", text, re.M | re.S)]


def _read(block: str) -> Diagram:
    transitions: list[Transition] = []
    within: dict[str, str] = {}
    outer = ""
    for line in map(str.strip, block.splitlines()):
        opened = re.fullmatch(r"state (\w+) \{", line)
        if opened or line == "}":
            outer = opened[1] if opened else ""
            continue
        found = re.fullmatch(r"(\S+) --> (\S+?)(?:: (.+))?", line)
        assert found, line
        before, after, label = found.groups(default="")
        transitions.append(Transition(before, after, label))
        if outer:
            within |= dict.fromkeys({before, after} - {OUTSIDE}, outer)
    return Diagram(transitions, within)
