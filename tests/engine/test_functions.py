import pytest

from holdfast.engine.functions import decode_arguments, encode_arguments, find_function, reference_to
from holdfast.errors import CheckpointTypeError, StepUsageError, UnserializableValueError
from tests.engine import isolated
from tests.engine.isolated import Sheet


class Holder:
    @staticmethod
    def static(number: int) -> int:
        return number

    def method(self):
        pass


def many(first: Sheet, *rest: Sheet, flag: bool = False, **options: Sheet):
    pass


def untyped(value, other=None):
    pass


def test_function_is_found_by_the_name_it_was_given():
    assert find_function(reference_to(isolated.add, what="it")) is isolated.add
    assert find_function(reference_to(Holder.static, what="it")) is Holder.static


def nested():
    def inner():
        pass

    return inner


@pytest.mark.parametrize(
    "function",
    [lambda: 1, nested(), Holder().method, 5, len.__str__],
    ids=["lambda", "nested", "bound method", "no function", "method of a builtin"],
)
def test_function_that_has_no_name_elsewhere_is_refused(function):
    with pytest.raises(StepUsageError, match=r"it is .*, which another process could not find by name"):
        reference_to(function, what="it")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no.such.module:f", "cannot be imported"),
        ("tests.engine.isolated:gone", "no longer exists"),
        ("tests.engine.isolated:Sheet.gone.further", "no longer exists"),
        ("tests.engine.undos:TWICE", "no longer exists"),
    ],
)
def test_function_that_is_gone_is_told_with_what_to_keep(reference, message):
    with pytest.raises(StepUsageError, match=f"{message}.*under their old name"):
        find_function(reference)


def test_arguments_come_back_typed_wherever_they_stand():
    args = [Sheet(title="a", pages=1), Sheet(title="b", pages=2), Sheet(title="c", pages=3)]
    kwargs = {"flag": True}

    text = encode_arguments(many, args, kwargs, what="it")
    found, named = decode_arguments(many, text, what="it")

    assert found == args
    assert named == kwargs


def test_plain_arguments_need_no_annotations():
    text = encode_arguments(untyped, [1], {"other": ["x"]}, what="it")

    assert decode_arguments(untyped, text, what="it") == ([1], {"other": ["x"]})


def test_arguments_that_do_not_fit_the_function_are_refused():
    with pytest.raises(StepUsageError, match="it was called with arguments that do not fit: missing"):
        encode_arguments(untyped, [], {}, what="it")


def test_argument_without_json_form_is_refused_by_its_place():
    with pytest.raises(UnserializableValueError, match=r"argument 0 of it holds a builtins\.set"):
        encode_arguments(untyped, [{1}], {}, what="it")
    with pytest.raises(UnserializableValueError, match=r"argument 'other' of it holds a builtins\.set"):
        encode_arguments(untyped, [1], {"other": {1}}, what="it")


def test_argument_that_no_longer_fits_its_annotation_is_told_by_name():
    text = encode_arguments(untyped, [1], {}, what="it")

    with pytest.raises(CheckpointTypeError, match="argument 'first' of it"):
        decode_arguments(many, text, what="it")
