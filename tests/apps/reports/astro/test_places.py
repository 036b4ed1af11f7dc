import pytest

from holdfast.apps.reports.astro import places
from holdfast.apps.reports.astro.errors import AmbiguousPlaceError, PlaceNotFoundError
from holdfast.apps.reports.astro.gazetteer import CITIES
from holdfast.apps.reports.astro.places import resolve_place


@pytest.fixture
def _cities_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the towns takes seconds and changes nothing for a name that is nowhere."""
    monkeypatch.setattr(places, "TOWNS", CITIES)


@pytest.mark.parametrize(
    ("query", "label"),
    [
        ("Lisbon", "Lisbon, Portugal"),
        ("  lisboa ", "Lisbon, Portugal"),
        ("Paris", "Paris, France"),
        ("Paris, Texas", "Paris, Texas, United States"),
        ("Paris Texas", "Paris, Texas, United States"),
        ("Springfield, US-IL", "Springfield, Illinois, United States"),
        ("Springfield, IL, USA", "Springfield, Illinois, United States"),
        ("New York, NY", "New York City, New York, United States"),
        ("Los Angeles, CA", "Los Angeles, California, United States"),
        ("London, CA", "London, Ontario, Canada"),
        ("London UK", "London, England, United Kingdom"),
        ("Washington, D.C.", "Washington, District of Columbia, United States"),
        ("Saint Petersburg", "Saint Petersburg, Russia"),
        ("St Petersburg, FL", "St. Petersburg, Florida, United States"),
        ("Tbilisi, Georgia", "Tbilisi, Georgia"),
        ("Atlanta, Georgia", "Atlanta, Georgia, United States"),
        ("Frankfurt (Oder)", "Frankfurt (Oder), Brandenburg, Germany"),
        ("Munich, Upper Bavaria, Germany", "Munich, Bavaria, Germany"),
        ("Berlin, Deutschland", "Berlin, Germany"),
        ("Rome", "Rome, Italy"),
        ("Philadelphia", "Philadelphia, Pennsylvania, United States"),
        ("München", "Munich, Bavaria, Germany"),
        ("Sao Paulo", "São Paulo, Brazil"),
        ("İstanbul", "Istanbul, Turkey"),
        ("東京", "Tokyo, Japan"),
        ("東京、日本", "Tokyo, Japan"),
        ("서울", "Seoul, South Korea"),
        ("Москва", "Moscow, Russia"),
        ("القاهرة", "Cairo, Egypt"),
        ("Bombay", "Mumbai, Maharashtra, India"),
        ("Leningrad", "Saint Petersburg, Russia"),
    ],
)
def test_place_is_found_as_buyers_type_it(query, label):
    assert resolve_place(query).label == label


def test_place_has_coordinates_and_time_zone():
    place = resolve_place("Lisbon")

    assert (place.latitude, place.longitude) == pytest.approx((38.73, -9.15), abs=0.05)
    assert place.timezone == "Europe/Lisbon"


@pytest.mark.parametrize(
    "query", ["Springfield", "Cambridge", "Barcelona", "San José", "Valencia", "Victoria"]
)
def test_place_without_clear_winner_is_ambiguous_and_every_suggestion_resolves(query):
    with pytest.raises(AmbiguousPlaceError, match=rf"'{query}' is ambiguous") as caught:
        resolve_place(query)

    suggestions = caught.value.suggestions
    found = {resolve_place(suggestion) for suggestion in suggestions}
    assert len(found) == len(suggestions) >= 2
    assert caught.value.code == "place_ambiguous"
    assert suggestions[0] in caught.value.hint


@pytest.mark.usefixtures("_cities_only")
def test_misspelt_place_is_not_found_and_suggests_what_resolves():
    with pytest.raises(
        PlaceNotFoundError, match=r"'Lisbn' was not found.*did you mean 'Lisbon, Portugal'"
    ) as caught:
        resolve_place("Lisbn")

    assert resolve_place(caught.value.suggestions[0]).name == "Lisbon"
    assert caught.value.code == "place_not_found"


@pytest.mark.usefixtures("_cities_only")
@pytest.mark.parametrize(
    ("query", "cause"),
    [
        ("Florence, Tuscany", "'Tuscany' is no region or country we know by name"),
        ("Lisbon, Japan", "there is no 'Lisbon' there"),
        ("Georgia", "that is a country or region, not a town"),
        ("", "no place of that name"),
        (", ,", "no place of that name"),
        ("...", "no place of that name"),
        ("Xyzzyville", "type 'town, country', or coordinates"),
        ("x" * 201, "longer than 200"),
        ("91.0, 0.0", "no point on Earth"),
        ("0.0, 181.0", "no point on Earth"),
    ],
)
def test_place_that_is_not_found_says_why(query, cause):
    with pytest.raises(PlaceNotFoundError) as caught:
        resolve_place(query)

    assert cause in str(caught.value)


@pytest.mark.parametrize(
    "query", ["38.72, -9.14", "38.72 N, 9.14 W", "38.72° N 9.14° W", "+38.72;-9.14"]
)
def test_coordinates_are_places_with_time_zone(query):
    place = resolve_place(query)

    assert (place.latitude, place.longitude) == (38.72, -9.14)
    assert place.timezone == "Europe/Lisbon"
    assert place.label == "38.72° N, 9.14° W"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "label"),
    [
        ("Paris, Kentucky", "Paris, Kentucky, United States"),
        ("箱根", "Hakone, Japan"),
        ("Óbidos, Portugal", "Óbidos, Portugal"),
    ],
)
def test_small_town_is_found_when_no_city_bears_the_name(query, label):
    assert resolve_place(query).label == label
