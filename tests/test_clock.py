from datetime import UTC, timedelta

from holdfast.clock import SystemClock


async def test_system_clock_tells_aware_utc_and_moves_forward():
    clock = SystemClock()
    before, since = clock.now(), clock.monotonic()

    await clock.sleep(0.001)

    assert before.tzinfo is UTC
    assert clock.monotonic() > since
    assert clock.now() - before < timedelta(seconds=10)
