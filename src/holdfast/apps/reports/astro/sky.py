"""The motions of all bodies over a run of days, sampled once for every question about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import numpy as np

from holdfast.apps.reports.astro import ephemeris
from holdfast.apps.reports.astro.ephemeris import FloatArray
from holdfast.apps.reports.astro.motion import STEP_DAYS, Motion
from holdfast.apps.reports.astro.zodiac import Body

_STEPS_A_DAY: Final = round(1 / STEP_DAYS)
_NOON_STEP: Final = _STEPS_A_DAY // 2


@dataclass(frozen=True, slots=True)
class Sky:
    """The sampled motions of the covered days."""

    first: date
    """First covered day; sampling starts one day before it."""
    count: int
    """Number of covered days."""
    motions: dict[Body, Motion]
    """Sun to Pluto."""
    elongation: Motion
    """Moon minus Sun: 0 at new moon, 180 at full moon."""

    def at_noon(self, motion: Motion) -> FloatArray:
        """Return the sampled values at noon of each covered day."""
        first = _STEPS_A_DAY + _NOON_STEP
        return motion.unwrapped[first : first + self.count * _STEPS_A_DAY : _STEPS_A_DAY]

    def change_at_noon(self, motion: Motion) -> FloatArray:
        """Return the change over the twelve hours around noon of each covered day."""
        first = _STEPS_A_DAY + _NOON_STEP
        last = first + self.count * _STEPS_A_DAY
        after = motion.unwrapped[first + 1 : last + 1 : _STEPS_A_DAY]
        return after - motion.unwrapped[first - 1 : last - 1 : _STEPS_A_DAY]

    def covers(self, moment: datetime) -> bool:
        """Return whether a moment lies in the covered days, not in the margin around them."""
        return 0 <= (moment.date() - self.first).days < self.count

    def moments(self, motion: Motion, targets: FloatArray) -> list[tuple[datetime, int, bool]]:
        """Return the covered moments at which a motion passes targets, with index and direction."""
        found = motion.crossings(targets)
        return [
            (moment, int(target), bool(backward))
            for moment, target, backward in zip(
                ephemeris.utc_datetimes(found.instants), found.targets, found.backward, strict=True
            )
            if self.covers(moment)
        ]


def sample_sky(first: date, count: int) -> Sky:
    """Sample all motions with a day's margin, so that events at the edges are found."""
    midnight = datetime.combine(first - timedelta(days=1), time(0), tzinfo=UTC)
    start = ephemeris.julian_date(midnight)
    instants = start + STEP_DAYS * np.arange((count + 2) * _STEPS_A_DAY + 1)
    motions = {
        body: Motion.from_longitudes(start, track)
        for body, track in ephemeris.longitudes(instants).items()
    }
    elongation = motions[Body.MOON].unwrapped - motions[Body.SUN].unwrapped
    return Sky(first, count, motions, Motion(start, elongation))
