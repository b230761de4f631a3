"""Measure two things in turns, and compare them pair by pair."""

import dataclasses
import statistics
from collections.abc import Callable

Taken = tuple[list[float], list[float]]  # what was measured of ours and of the floor, in pairs


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table: something of ours against its floor, or a peer."""

    name: str
    floor: str  # what it is compared with
    unit: str  # of both figures
    target: float
    more_is_better: bool
    measure: Callable[[], Taken]

    @property
    def aim(self) -> str:
        """The target, as the table says it."""
        return f"at {'least' if self.more_is_better else 'most'} {self.target:g}"


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a row."""

    row: Row
    ours: list[float]
    floor: list[float]

    @property
    def ratio(self) -> float:
        """The median of the ratios of pairs, which a drifting machine does not touch."""
        return statistics.median(one / other for one, other in zip(self.ours, self.floor, strict=True))

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the greatest ratio of a pair."""
        ratios = [one / other for one, other in zip(self.ours, self.floor, strict=True)]
        return min(ratios), max(ratios)

    @property
    def met(self) -> bool:
        """Whether the ratio reaches the target."""
        better = self.row.more_is_better
        return self.ratio >= self.row.target if better else self.ratio <= self.row.target


def in_turns(measure: Callable[[str], float], repeats: int = 5) -> Taken:
    """Measure "ours" and the "floor" in turns; each goes first as often as the other."""
    taken: dict[str, list[float]] = {"ours": [], "floor": []}
    for turn in range(repeats):
        order = ("ours", "floor") if turn % 2 else ("floor", "ours")
        for which in order:
            taken[which].append(measure(which))
    return taken["ours"], taken["floor"]
