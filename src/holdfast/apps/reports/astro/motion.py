"""One longitude as a function of time: sampled, interpolated, and searched for exact moments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from holdfast.apps.reports.astro.ephemeris import FloatArray

STEP_DAYS: Final = 0.25
"""Six points at this distance give the Moon to better than 0.01″."""

_HALVINGS: Final = 30
"""0.25 days halved thirty times is far below a millisecond."""
_POINTS: Final = 6
_SLOPE_DAYS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Crossings:
    """Moments at which a longitude passes targets, by time; three arrays of equal length."""

    instants: FloatArray
    """TT Julian dates."""
    targets: NDArray[np.intp]
    """Index of the target that is passed."""
    backward: NDArray[np.bool_]
    """Whether the longitude decreases at that moment."""


@dataclass(frozen=True)
class Motion:
    """A longitude sampled every `STEP_DAYS` from `start` on."""

    start: float
    """TT Julian date of the first sample."""
    unwrapped: FloatArray
    """Degrees without jumps at 360; at least six samples."""

    @classmethod
    def from_longitudes(cls, start: float, longitudes: FloatArray) -> Motion:
        """Take longitudes of 0 to 360 degrees and remove the jumps."""
        return cls(start, np.unwrap(longitudes, period=360.0))

    def at(self, instants: FloatArray) -> FloatArray:
        """Return the unwrapped longitude at any instants within the samples.

        Lagrange's polynomial through the six nearest samples.
        """
        offsets = (instants - self.start) / STEP_DAYS
        first = np.clip(np.floor(offsets).astype(np.intp) - 2, 0, len(self.unwrapped) - _POINTS)
        local = offsets - first
        total: FloatArray = np.zeros_like(local)
        for point in range(_POINTS):
            weight = np.ones_like(local)
            for other in range(_POINTS):
                if other != point:
                    weight *= (local - other) / (point - other)
            total += weight * self.unwrapped[first + point]
        return total

    @cached_property
    def stations(self) -> Crossings:
        """The moments at which the motion turns; `backward` tells the way it goes afterwards."""
        inner = self.start + STEP_DAYS * np.arange(1, len(self.unwrapped) - 1)
        backward = self._slope(inner) < 0
        turns = np.flatnonzero(backward[1:] != backward[:-1])
        low, high = inner[turns], inner[turns + 1]
        before = backward[turns]
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            early = (self._slope(middle) < 0) == before
            low, high = np.where(early, middle, low), np.where(early, high, middle)
        return Crossings((low + high) / 2, np.zeros(len(turns), dtype=np.intp), ~before)

    def crossings(self, targets: FloatArray) -> Crossings:
        """Find every moment at which the longitude equals a target, in order of time.

        Stations are added to the samples: between two of those the motion keeps its direction,
        so a planet that touches a target around its station is found on both passes.
        """
        samples = self.start + STEP_DAYS * np.arange(len(self.unwrapped))
        nodes = np.unique(np.concatenate([samples, self.stations.instants]))
        values = self.at(nodes)
        turns = np.floor((values[np.newaxis, :] - targets[:, np.newaxis]) / 360.0)
        which, where = np.nonzero(turns[:, 1:] != turns[:, :-1])
        level = targets[which] + 360.0 * np.maximum(turns[which, where], turns[which, where + 1])
        backward = values[where + 1] < values[where]
        low, high = nodes[where], nodes[where + 1]
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            early = (self.at(middle) < level) != backward
            low, high = np.where(early, middle, low), np.where(early, high, middle)
        instants = (low + high) / 2
        order = np.argsort(instants, kind="stable")
        return Crossings(instants[order], which[order], backward[order])

    def _slope(self, instants: FloatArray) -> FloatArray:
        return self.at(instants + _SLOPE_DAYS) - self.at(instants - _SLOPE_DAYS)
