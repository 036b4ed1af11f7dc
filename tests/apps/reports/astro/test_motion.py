import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.apps.reports.astro.motion import STEP_DAYS, Motion

SAMPLES = np.arange(0, 60, STEP_DAYS)


def parabola(turn, speed=0.01):
    """A planet that turns at a known day: backward after it."""
    return Motion(0.0, 100.0 - speed * (SAMPLES - turn) ** 2)


@settings(max_examples=25)
@given(st.floats(3, 55))
def test_station_is_found_where_parabola_turns(turn):
    stations = parabola(turn).stations

    assert stations.instants == pytest.approx([turn], abs=1e-4)
    assert stations.backward.tolist() == [True]


@settings(max_examples=25)
@given(st.floats(5, 50), st.floats(0.001, 2.0))
def test_target_near_station_is_passed_forward_then_backward(turn, days):
    """Also when both passes lie between two samples."""
    motion = parabola(turn)

    crossings = motion.crossings(np.array([100.0 - 0.01 * days**2]))

    assert crossings.instants == pytest.approx([turn - days, turn + days], abs=1e-2)
    assert crossings.backward.tolist() == [False, True]


def test_crossings_go_on_beyond_full_circle():
    motion = Motion.from_longitudes(0.0, (13.0 * SAMPLES) % 360.0)

    crossings = motion.crossings(np.array([90.0, 0.0]))

    passed = [crossings.instants[crossings.targets == target] * 13.0 for target in (0, 1)]
    assert passed[0] == pytest.approx([90.0, 450.0], abs=1e-6)
    assert passed[1][-2:] == pytest.approx([360.0, 720.0], abs=1e-6)


def test_interpolation_is_exact_between_samples_for_smooth_motion():
    motion = Motion(0.0, 13.0 * SAMPLES + 6.0 * np.sin(SAMPLES / 4.4))
    between = np.array([0.1, 20.123, 59.6])

    assert motion.at(between) == pytest.approx(13.0 * between + 6.0 * np.sin(between / 4.4), abs=1e-6)
