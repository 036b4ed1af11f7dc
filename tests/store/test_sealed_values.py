"""Whatever a value holds, it comes back as it was, and at rest it is JSON that shows nothing."""

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model import Checkpoint, Event, Job, JobStatus, Progress, StoredError, UndoCall
from holdfast.sealing import KEY_BYTES, Keyring
from holdfast.store.base import NewEvent
from holdfast.store.sealed_values import Sealer

SEALER = Sealer(Keyring({"a": bytes(KEY_BYTES)}))
AT = datetime(2030, 1, 1, tzinfo=UTC)

strings = st.one_of(st.text(st.characters(codec="utf-8"), max_size=40), st.just("$sealed:a:AAAA"))
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | strings
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(strings, inner))
json_texts = values.map(msgspec.json.encode)
objects = st.dictionaries(strings, values, max_size=4)
errors = st.builds(
    StoredError,
    type=strings,
    code=strings,
    message=strings,
    details=st.dictionaries(strings, scalars, max_size=3),
    traceback=strings,
)


def stored(event_type: str, data: bytes) -> Event:
    msgspec.json.decode(data)
    return Event(job_id="job_1", seq=1, type=event_type, data=data, at=AT)


@given(objects)
def test_event_of_a_job(fields: dict[str, object]):
    event = NewEvent(type="guest.greeted", data=msgspec.json.encode(fields))

    sealed = SEALER.seal_event(event, "job_1")

    assert list(msgspec.json.decode(sealed.data)) == ["sealed"]
    assert SEALER.open_event(stored(event.type, sealed.data)).data == event.data


@given(strings, strings)
def test_streamed_text_can_still_be_found_by_its_step(key: str, text: str):
    data = msgspec.json.encode({"key": key, "step_attempt": 1, "text": text})

    sealed = SEALER.seal_event(NewEvent(type="output.delta", data=data), "job_1")

    assert msgspec.json.decode(sealed.data)["key"] == key
    assert SEALER.open_event(stored("output.delta", sealed.data)).data == data


@given(objects)
def test_clear_event_stays_as_it_is(fields: dict[str, object]):
    event = stored("guest.greeted", msgspec.json.encode(fields))

    if not str(fields.get("sealed")).startswith("$sealed:"):
        assert SEALER.open_event(event) is event


@given(strings, json_texts)
def test_signal_as_the_store_nests_it(name: str, payload: bytes):
    nested = msgspec.Raw(SEALER.seal_json(payload, "signal", "job_1", name))

    event = stored("signal.received", msgspec.json.encode({"name": name, "payload": nested}))

    expected = msgspec.json.encode({"name": name, "payload": msgspec.Raw(payload)})
    assert SEALER.open_event(event).data == expected


@given(errors)
def test_error_on_the_job_and_as_the_store_nests_it(error: StoredError):
    sealed = SEALER.seal_error(error, "job_1")

    nested = stored("job.failed", msgspec.json.encode({"error": sealed}))

    assert (sealed.type, sealed.code, sealed.details, sealed.traceback) == (
        error.type,
        error.code,
        {},
        "",
    )
    assert SEALER.open_error(sealed, "job_1") == error
    assert SEALER.open_event(nested).data == msgspec.json.encode({"error": error})


@given(json_texts, json_texts, errors, strings)
def test_job(given_input: bytes, output: bytes, error: StoredError, label: str):
    job = Job(
        job_id="job_1",
        kind="k",
        queue="q",
        status=JobStatus.FAILED,
        input=given_input,
        output=output,
        error=error,
        progress=Progress(label=label),
        created_at=AT,
        available_at=AT,
    )

    sealed = replace(
        job,
        input=SEALER.seal_json(given_input, "input", "job_1"),
        output=SEALER.seal_json(output, "output", "job_1"),
        error=SEALER.seal_error(error, "job_1"),
        progress=SEALER.seal_progress(job.progress, "job_1"),
    )

    assert SEALER.open_job(sealed) == job


@given(strings, json_texts, json_texts)
def test_checkpoint(key: str, value: bytes, arguments: bytes):
    checkpoint = Checkpoint(key=key, value=value, undo=UndoCall(function="f", arguments=arguments))

    sealed = SEALER.seal_checkpoint(checkpoint, "job_1")

    assert isinstance(msgspec.json.decode(sealed.value or b""), str)
    assert SEALER.open_checkpoint(sealed, "job_1") == checkpoint
    # A repeated write is told by its equal value.
    assert SEALER.seal_checkpoint(checkpoint, "job_1") == sealed
