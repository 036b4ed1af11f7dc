"""A real TLS server on loopback stands in for receivers, with an authority of its own."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from holdfast.clock import SystemClock
from holdfast.errors import WebhookRefusedError, WebhookUndeliveredError
from holdfast.webhooks.lookups import THREADS
from holdfast.webhooks.sending import ANSWER_BYTES_MAX, Answer, Sender, retry_after
from tests.webhooks.conftest import HOST, Receiver, answer, serving

HEADERS = {"webhook-id": "msg_1"}


async def test_post_arrives_as_it_was_sent(receiver, make_sender, names):
    """Host, TLS name and certificate go by the name; the connection goes to the address."""
    found = await make_sender().post(receiver.url, b'{"a":1}', HEADERS)

    [request] = receiver.requests
    assert found == Answer(status=200, retry_after=None)
    assert request.line == "POST /hooks?from=holdfast HTTP/1.1"
    assert request.body == b'{"a":1}'
    assert request.headers["host"] == f"{HOST}:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("holdfast/")
    assert request.headers["webhook-id"] == "msg_1"
    assert receiver.names == [HOST]
    assert names.asked == [(HOST, receiver.port)]


async def test_certificate_of_another_name_is_refused(receiver, make_sender):
    url = receiver.url.replace(HOST, "other.example")

    with pytest.raises(WebhookUndeliveredError, match="certificate"):
        await make_sender().post(url, b"", HEADERS)

    assert receiver.requests == []


async def test_certificate_of_an_unknown_authority_is_refused(receiver, make_sender):
    with pytest.raises(WebhookUndeliveredError, match="certificate"):
        await make_sender(ssl_context=None).post(receiver.url, b"", HEADERS)


@pytest.mark.parametrize(
    "addresses",
    [
        ["10.0.0.1"],
        ["93.184.215.14", "192.168.1.1"],
        ["169.254.169.254"],
        ["0.0.0.0"],
        ["::1"],
        ["::ffff:10.0.0.1"],
        ["64:ff9b::a00:1"],
        ["fd00::1"],
    ],
)
async def test_name_that_leads_inside_is_refused(receiver, make_sender, names, addresses):
    names.addresses.append(addresses)

    with pytest.raises(WebhookRefusedError, match="not public") as raised:
        await make_sender(networks=()).post(receiver.url, b"", HEADERS)

    assert not any(address in str(raised.value) for address in addresses)
    assert receiver.requests == []


async def test_answer_of_the_name_server_is_used_as_it_was_checked(receiver, make_sender, names):
    """A name that changes its meaning after the check leads nowhere else: it is asked once."""
    names.addresses += [["127.0.0.1"], ["10.0.0.1"]]

    await make_sender().post(receiver.url, b"", HEADERS)

    assert len(names.asked) == len(receiver.requests) == 1


async def test_name_without_address_is_tried_again_later(make_sender, names):
    names.addresses.append([])

    with pytest.raises(WebhookUndeliveredError, match="no address"):
        await make_sender().post(f"https://{HOST}", b"", HEADERS)


async def test_next_address_is_tried_when_none_listens(receiver, make_sender, names):
    names.addresses.append(["127.0.0.2", "127.0.0.3", "127.0.0.1"])

    found = await make_sender().post(receiver.url, b"", HEADERS)

    assert found.status == 200


async def test_plain_http_goes_into_allowed_networks_only(make_sender):
    receiver = Receiver()
    async with serving(receiver):
        url = receiver.url.replace("https", "http")
        assert (await make_sender().post(url, b"{}", HEADERS)).status == 200

        with pytest.raises(WebhookRefusedError, match="can be read on its way"):
            await make_sender(networks=(), resolve=_public).post(url, b"{}", HEADERS)


def _public(_host, _port):
    from ipaddress import ip_address

    return [ip_address("93.184.215.14")]


async def test_redirect_is_an_answer_and_is_not_followed(receiver, make_sender):
    receiver.behaviours.append(answer(307, location=receiver.url))

    found = await make_sender().post(receiver.url, b"{}", HEADERS)

    assert found.status == 307
    assert len(receiver.requests) == 1


async def test_huge_answer_is_left_after_its_first_part(receiver, make_sender):
    """It never ends by itself; without a limit, far more would come within the time there is."""
    written = 0

    async def pour(_, writer):
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        chunk = b"x" * 16_384
        while True:
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            written += len(chunk)
            await writer.drain()

    receiver.behaviours.append(pour)

    found = await make_sender().post(receiver.url, b"{}", HEADERS)

    assert found.status == 200
    assert ANSWER_BYTES_MAX < written < 32 * 1024**2


async def test_receiver_that_hangs_is_left_at_the_limit(receiver, make_sender):
    async def hang(_request, _writer):
        await asyncio.Event().wait()

    receiver.behaviours.append(hang)

    with pytest.raises(WebhookUndeliveredError, match=r"within 0\.2 s"):
        await make_sender(limit_seconds=0.2).post(receiver.url, b"{}", HEADERS)


async def test_answer_counts_even_if_its_body_never_ends(receiver, make_sender):
    async def trickle(_request, writer):
        writer.write(b"HTTP/1.1 202 OK\r\ncontent-length: 10\r\n\r\nx")
        await writer.drain()
        await asyncio.Event().wait()

    receiver.behaviours.append(trickle)

    found = await make_sender(limit_seconds=0.3).post(receiver.url, b"{}", HEADERS)

    assert found.status == 202


async def test_answer_counts_even_if_its_body_is_cut(receiver, make_sender):
    async def cut(_request, writer):
        writer.write(b"HTTP/1.1 202 OK\r\ncontent-length: 10\r\n\r\nx")
        await writer.drain()

    receiver.behaviours.append(cut)

    assert (await make_sender().post(receiver.url, b"{}", HEADERS)).status == 202


async def test_name_server_that_hangs_is_left_at_the_limit(make_sender):
    released = threading.Event()

    def hang(_host, _port):
        released.wait()
        return []

    try:
        with pytest.raises(WebhookUndeliveredError, match="within"):
            await make_sender(limit_seconds=0.05, resolve=hang).post(f"https://{HOST}", b"", HEADERS)
    finally:
        released.set()


async def test_name_that_hangs_leaves_threads_to_others(make_sender):
    released, asked = threading.Event(), []

    def resolve(host, _port):
        asked.append(host)
        if host == "hangs.example":
            released.wait()
            return []
        return [ip_address("10.0.0.1")]

    sender = make_sender(resolve=resolve, limit_seconds=0.05)
    try:
        for _ in range(2):
            refused = await asyncio.gather(
                *(sender.post("https://hangs.example", b"", HEADERS) for _ in range(50)),
                return_exceptions=True,
            )
            assert {type(each) for each in refused} == {WebhookUndeliveredError}

        with pytest.raises(WebhookRefusedError):
            await sender.post("https://works.example", b"", HEADERS)
        assert asked == ["hangs.example", "works.example"]
    finally:
        released.set()


async def test_request_without_a_thread_for_its_name_waits_instead_of_failing(receiver, make_sender):
    """It has not been tried, so its time has not begun, however long the others hang."""
    released = threading.Event()

    def resolve(host, _port):
        if host == HOST:
            return [ip_address("127.0.0.1")]
        released.wait()
        return []

    sender = make_sender(resolve=resolve, limit_seconds=0.3)
    try:
        hanging = [sender.post(f"https://{n}.example", b"", HEADERS) for n in range(THREADS)]
        others = asyncio.gather(*hanging, return_exceptions=True)
        mine = asyncio.create_task(sender.post(receiver.url, b"", HEADERS))

        assert {type(each) for each in await others} == {WebhookUndeliveredError}
        assert not mine.done()

        released.set()
        assert (await mine).status == 200
    finally:
        released.set()


async def test_dropped_connection_is_told_without_what_was_received(receiver, make_sender):
    async def drop(_request, writer):
        writer.write(b"secret nonsense\r\n\r\n")
        await writer.drain()

    receiver.behaviours.append(drop)

    with pytest.raises(WebhookUndeliveredError, match="RemoteProtocolError") as raised:
        await make_sender().post(receiver.url, b"{}", HEADERS)

    assert "nonsense" not in str(raised.value)


async def test_nobody_listening_is_undelivered(make_sender):
    with pytest.raises(WebhookUndeliveredError, match="ConnectError"):
        await make_sender().post(f"https://{HOST}:1/", b"{}", HEADERS)


async def test_machine_looks_names_up_by_itself():
    """Loopback is all that a name can mean without a network."""
    sender = Sender(SystemClock())

    with pytest.raises(WebhookRefusedError, match="not public"):
        await sender.post("https://localhost", b"", HEADERS)
    with pytest.raises(WebhookUndeliveredError, match="no address"):
        await sender.post("https://no-such-host.invalid", b"", HEADERS)

    sender.close()


async def test_retry_after_of_the_answer_is_told(receiver, make_sender):
    receiver.behaviours.append(answer(503, retry_after="120"))

    found = await make_sender().post(receiver.url, b"{}", HEADERS)

    assert found == Answer(status=503, retry_after=timedelta(minutes=2))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("30", 30),
        (" 30 ", 30),
        ("Tue, 01 Jan 2030 12:01:00 GMT", 60),
        ("Tue, 01 Jan 2030 12:01:00", 60),
        ("Tue, 01 Jan 2030 11:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("9" * 20, None),
    ],
)
def test_retry_after_is_read_in_both_forms(text, seconds):
    found = retry_after(text, datetime(2030, 1, 1, 12, tzinfo=UTC))

    assert found == (None if seconds is None else timedelta(seconds=seconds))
