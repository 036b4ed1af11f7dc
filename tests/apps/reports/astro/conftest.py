from datetime import date, time

import pytest

from holdfast.apps.reports.astro.chart import natal_chart
from holdfast.apps.reports.astro.models import BirthData, NatalChart, Place


@pytest.fixture(scope="session")
def birth() -> BirthData:
    place = Place(
        name="Rome", country="Italy", latitude=41.9028, longitude=12.4964, timezone="Europe/Rome"
    )
    return BirthData(
        name="Ada Example", birth_date=date(1990, 6, 15), birth_time=time(14, 30), place=place
    )


@pytest.fixture(scope="session")
def chart(birth: BirthData) -> NatalChart:
    return natal_chart(birth)
