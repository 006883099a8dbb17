"""What came of asking, and what it amounts to."""

import math
from collections import Counter
from dataclasses import dataclass, field

from questions import Pair

# Of a normal distribution, 95 % lie within so many standard deviations.
Z = 1.959963984540054


def wilson(hits, of):
    """The 95 % interval of a share, by Wilson's score: also right for none of few."""
    if of == 0:
        return 0.0, 1.0
    share, z2 = hits / of, Z * Z
    centre = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    return (0.0 if hits == 0 else centre - half), (1.0 if hits == of else centre + half)


@dataclass(frozen=True)
class Outcome:
    """What came of a pair: `a` was answered and stored, then `b` was asked."""

    pair: Pair
    served: bool
    # Whose answer it was, where many were stored.
    right: bool
    similarity: float | None = None
    tier: str | None = None
    # The rule that held the nearest stored question different.
    rule: str | None = None


@dataclass
class Tally:
    traps: int = 0
    traps_served: int = 0
    rewordings: int = 0
    rewordings_served: int = 0
    # Everything served, and how much of it was somebody else's answer.
    hits: int = 0
    wrong: int = 0
    refused: dict = field(default_factory=lambda: {True: Counter(), False: Counter()})

    def add(self, outcome):
        if outcome.pair.same:
            self.rewordings += 1
            self.rewordings_served += outcome.served and outcome.right
        else:
            self.traps += 1
            self.traps_served += outcome.served and not outcome.right
        self.hits += outcome.served
        self.wrong += outcome.served and not outcome.right
        if outcome.rule:
            self.refused[outcome.pair.same][outcome.rule] += 1

    @property
    def precision(self):
        return (self.hits - self.wrong) / self.hits if self.hits else None

    @property
    def recall(self):
        return self.rewordings_served / self.rewordings if self.rewordings else None


def tally(outcomes):
    sum_of = Tally()
    for outcome in outcomes:
        sum_of.add(outcome)
    return sum_of


def by_kind(outcomes):
    """{kind: Tally}, in the order in which the kinds come."""
    kinds = {}
    for outcome in outcomes:
        kinds.setdefault(outcome.pair.kind, Tally()).add(outcome)
    return kinds


def curve(outcomes):
    """(threshold, recall, precision) for each threshold at which something changes, from outcomes at the lowest one."""
    served = [outcome for outcome in outcomes if outcome.served]
    rewordings = sum(outcome.pair.same for outcome in outcomes)
    points, right, wrong = [], 0, 0
    ordered = sorted(served, key=lambda outcome: -outcome.similarity)
    for position, outcome in enumerate(ordered):
        right, wrong = right + outcome.right, wrong + (not outcome.right)
        last = position + 1 == len(ordered) or ordered[position + 1].similarity < outcome.similarity
        if last and rewordings:
            points.append((outcome.similarity, right / rewordings, right / (right + wrong)))
    return points
