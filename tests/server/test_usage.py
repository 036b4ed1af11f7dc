"""GET /jobs/{id}/usage: what was paid, and what possibly twice."""

from datetime import UTC, datetime
from decimal import Decimal

from holdfast.model import Call, CallStatus
from holdfast.server.records import sums_by_model


def call(model: str, status: CallStatus = CallStatus.SETTLED, usd: str | None = "0.5") -> Call:
    return Call(
        call_id=f"call_{model}",
        job_id="job_1",
        step_key="write",
        step_attempt=1,
        epoch=1,
        provider="openai",
        model=model,
        status=status,
        reserved_tokens=100,
        reserved_usd=Decimal(1),
        input_tokens=10,
        output_tokens=5,
        usd=None if usd is None else Decimal(usd),
        started_at=datetime(2030, 1, 1, tzinfo=UTC),
    )


def test_calls_are_summed_by_model():
    small, large = sums_by_model([call("small"), call("large"), call("small", usd=None)])

    assert (large.model, large.calls, large.usd) == ("small", 2, Decimal("0.5"))
    assert (small.model, small.input_tokens, small.output_tokens) == ("large", 10, 5)


async def test_job_without_calls_has_cost_nothing(http, harness):
    job_id = await harness.submit("greet", "ada")

    report = (await http.get(f"/api/v1/jobs/{job_id}/usage")).json()

    assert (report["usage"]["calls"], report["usage"]["usd"]) == (0, "0")
    assert report["by_model"] == report["calls"] == report["possibly_paid_twice"] == []
