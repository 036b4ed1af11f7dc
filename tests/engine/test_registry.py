import functools
from datetime import timedelta

import pydantic
import pytest

from holdfast.engine.registry import Registry
from holdfast.errors import CheckpointTypeError, ConfigError, DuplicateJobKindError, UnknownJobKindError


class Order(pydantic.BaseModel):
    item: str


class Shop:
    async def sell(self, job, order: Order) -> int:
        return 1


async def nothing(job):
    pass


async def typed(job, order: Order) -> Order:
    return order


async def optional(job, order: Order | None = None, *, verbose=False):
    pass


async def two(job, first, second):
    pass


async def none():
    pass


async def keyword_only(job, *, order):
    pass


def plain(job):
    pass


@pytest.fixture
def registry():
    return Registry()


def test_kind_takes_its_types_from_the_function(registry):
    assert registry.add("a", typed).input_type is Order
    assert registry.add("b", typed).output_type is Order
    assert registry.add("c", Shop().sell).input_type is Order
    assert registry.add("d", nothing).input_type is type(None)
    assert registry.add("e", optional).input_type == Order | None
    assert registry.add("f", functools.partial(nothing)).output_type is None


def test_kind_waits_in_a_queue_of_its_own_name_by_default(registry):
    assert registry.add("a", nothing).queue == "a"
    assert registry.add("b", nothing, queue="slow").queue == "slow"


def test_names_are_sorted_and_known(registry):
    registry.add("b", nothing)
    registry.add("a", nothing)

    assert registry.names == ("a", "b")
    assert "a" in registry
    assert "c" not in registry


def test_unknown_kind_names_the_known_ones(registry):
    with pytest.raises(UnknownJobKindError, match="registered kinds: none"):
        registry.get("a")


def test_kind_registered_twice_is_refused(registry):
    registry.add("a", nothing)

    with pytest.raises(DuplicateJobKindError, match="'a' is registered twice"):
        registry.add("a", typed)


def test_function_given_as_the_name_is_refused_with_the_right_way_to_write_it(registry):
    with pytest.raises(ConfigError, match="with parentheses"):
        registry.add(nothing, nothing)


@pytest.mark.parametrize("name", ["", "with space", "tab\t", "x" * 201])
def test_unusable_name_is_refused(registry, name):
    with pytest.raises(ConfigError, match="is not a usable name"):
        registry.add(name, nothing)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (plain, "which is not an 'async def' function"),
        (lambda job: None, "which is not an 'async def' function"),
        (two, "takes 3 parameters"),
        (none, "takes 0 parameters"),
        (keyword_only, "its input 'order' is keyword-only"),
    ],
)
def test_function_of_another_shape_is_refused(registry, function, message):
    with pytest.raises(ConfigError, match=message):
        registry.add("a", function)


def test_input_goes_through_its_declared_type(registry):
    kind = registry.add("a", typed)

    assert kind.encode_input({"item": "x"}) == b'{"item":"x"}'
    assert kind.decode_input(b'{"item":"x"}') == Order(item="x")
    with pytest.raises(CheckpointTypeError, match="input of job kind 'a' does not fit"):
        kind.decode_input(b"{}")


def test_kind_without_input_stores_null(registry):
    assert registry.add("a", nothing).encode_input(None) == b"null"


async def own(job, order: Order) -> None:
    pass


def test_own_kinds_are_run_but_not_listed_and_not_to_be_submitted(registry):
    registry.add("a", nothing)

    kind = registry.reserve("holdfast.own", own, keep=timedelta(days=1))

    assert registry.names == ("a",)
    assert registry.runnable == registry.queues == ("a", "holdfast.own")
    assert registry.find_runnable("holdfast.own") is kind
    assert registry.retention == {"holdfast.own": timedelta(days=1)}
    assert "holdfast.own" not in registry
    for refused in (registry.get, registry.find_runnable):
        with pytest.raises(UnknownJobKindError, match="registered kinds: 'a'"):
            refused("holdfast.other")
    with pytest.raises(UnknownJobKindError):
        registry.find("holdfast.own")


def test_names_of_own_kinds_are_kept_for_them(registry):
    with pytest.raises(ConfigError, match="which only Holdfast's own do"):
        registry.add("holdfast.mine", nothing)


def test_own_kind_registered_again_replaces_itself(registry):
    registry.reserve("holdfast.own", own)

    again = registry.reserve("holdfast.own", nothing)

    assert registry.find_runnable("holdfast.own") is again
