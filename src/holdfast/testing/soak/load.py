"""Who comes to the shop, what for, and when: plain values that follow from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, TypeVar

from holdfast.testing.soak.books import Customer, Phase, Way

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PRODUCTS = {"life_clarity": 8, "personal_blueprint": 5, "personal_horoscope": 5, "bundle": 2}
"""What is ordered, of twenty orders."""

WAYS = {
    Way.CARD: 8,
    Way.DOUBLE_CLICK: 3,
    Way.BANK: 3,
    Way.BANK_REFUSED: 1,
    Way.ABANDONED: 2,
    Way.REFUND_RUNNING: 2,
    Way.REFUND_AFTER: 1,
}
"""How it is paid, of twenty orders."""

_FIRST_NAMES = """
    Zephyrine Quilla Ottoline Ignatzia Xanthippe Thelonia Wilhelmtraud Yevheniya Æthelflæd Ljudevita
    Hjördís Björgvin Tancredo Ulpiano Velimir Ruairidh Czesława Dragoslava Fenella Gwendolen
""".split()
_LAST_NAMES = """
    Marlowe-Tarn Quackenbush Vandersloot Ó_Súilleabháin Przybylski Featherstone Wojciechowska Okonkwo-Bly
    Thistlethwaite Brandybuckle Hřebíčková Zuloaga Nørregaard Kvaratskhelia Fotheringham Lindqvist-Aho
""".split()
_PLACES = ("Lisbon", "Porto", "Helsinki", "Paris, France", "Tokyo", "New York City", "-33.9, 18.4")


Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A customer, and when they come."""

    at: float
    """Seconds after the phase has begun."""
    customer: Customer


class People:
    """Draws customers, no two of whom are alike."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"{seed}/people")
        names = [f"{first} {last}".replace("_", " ") for first in _FIRST_NAMES for last in _LAST_NAMES]
        self._random.shuffle(names)
        self._names: Iterator[str] = iter(names)
        self._count = 0

    def draw(self, phase: Phase, product: str, way: Way) -> Customer:
        """Return one more.

        Raises:
            StopIteration: There are no more names.
        """
        self._count += 1
        born = date(1950, 1, 1) + timedelta(days=self._random.randrange(18_000))
        clock = f" {self._random.randrange(24):02}:{self._random.randrange(60):02}"
        return Customer(
            number=self._count,
            phase=phase,
            product=product,
            way=way,
            name=next(self._names),
            email=f"soaked.customer.{self._count:03}.{self._random.randrange(16**6):06x}@example.com",
            born=f"{born}{clock if self._random.random() < 0.8 else ''}",
            place=self._random.choice(_PLACES),
        )


def mixed(people: People, seed: int, *, orders: int, seconds: float) -> Sequence[Arrival]:
    """Return customers of all sorts, who come within so many seconds.

    The shares of products and ways are kept as exactly as their number allows.
    """
    draw = random.Random(f"{seed}/mixed")
    products, ways = _shares(PRODUCTS, orders), _shares(WAYS, orders)
    draw.shuffle(products)
    draw.shuffle(ways)
    times = sorted(draw.uniform(0.0, seconds) for _ in range(orders))
    return tuple(
        Arrival(at=round(at, 2), customer=people.draw(Phase.KILLS, product, way))
        for at, product, way in zip(times, products, ways, strict=True)
    )


def _shares(parts: Mapping[Thing, int], count: int) -> list[Thing]:
    """Return so many things in these parts, each at least once where there is room for all."""
    found, whole = list(parts)[:count], sum(parts.values())
    while len(found) < count:
        # Whichever is furthest behind its share.
        found.append(max(parts, key=lambda thing: parts[thing] * count / whole - found.count(thing)))
    return found
