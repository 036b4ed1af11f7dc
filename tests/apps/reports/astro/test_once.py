"""Large files are read once, not once for each thread."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast.apps.reports.astro import ephemeris, gazetteer
from holdfast.apps.reports.astro.once import loaded_once


def test_threads_at_once_load_once():
    inside, loads = threading.Barrier(2), []

    @loaded_once
    def load(what: str) -> str:
        loads.append(what)
        # Whoever else came in here would make this return.
        with pytest.raises(threading.BrokenBarrierError):
            inside.wait(timeout=0.2)
        inside.reset()
        return what.upper()

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(load, ["sky"] * 4))

    assert found == ["SKY"] * 4
    assert loads == ["sky"]
    assert load("land") == "LAND"


def test_what_takes_long_is_loaded_so():
    for load in (ephemeris._kernel, ephemeris._timescale, gazetteer.load_gazetteer):
        assert not hasattr(load, "cache_info"), f"each thread loads what {load} gives"
