"""Against a real server that drops, delays and refuses."""

import asyncio
import logging
import traceback
from datetime import timedelta

import pytest

from holdfast.apps.reports.orders.mail.conversation import Limits
from holdfast.errors import MailRefusedError, MailUnavailableError
from holdfast.testing.clock import START
from holdfast.testing.servers.smtp import At, Encryption, Smtp
from holdfast.testing.signals import eventually
from tests.apps.reports.orders.mail.conftest import CUSTOMER, SECRET_TEXT, make_mail

ARABIC = "نور@customer.example"
PASSWORD = "s3cret:p@ss/wörd%"
QUOTING = f"no thanks <{CUSTOMER}> for {SECRET_TEXT} {PASSWORD}"
"""What servers like to say after the code."""

DROPS = [at for at in At if at not in (At.NOOP, At.QUIT)]


def told(error: BaseException, caplog: pytest.LogCaptureFixture) -> str:
    """Return everything that anybody may come to read of an error."""
    logging.getLogger("test").error("failed", exc_info=error)
    return "".join(traceback.format_exception(error)) + caplog.text + repr(error.__context__)


@pytest.fixture(autouse=True)
def all_logs(caplog: pytest.LogCaptureFixture) -> None:
    # The server's own tells everything.
    for name in ("mail.log", "mail.debug"):
        caplog.set_level(logging.CRITICAL, name)
    caplog.set_level(logging.DEBUG)


# --- what arrives ---


@pytest.mark.parametrize("encryption", Encryption)
async def test_mail_arrives_as_it_was_sent(make_server, make_mailer, encryption):
    server = make_server(encryption=encryption, user="us@acme.example", password=PASSWORD)
    mail = make_mail(
        subject="Bereit für 山田 花子", text="Zoë\n.\n.dots\nFrom نور\n", html="<p>نور</p>\n"
    )

    await make_mailer(server).send(mail)

    [delivery] = (await server.holds(1)).values()
    message = delivery.message
    assert delivery.to == (CUSTOMER,)
    assert delivery.sender == "reports@acme.example"
    assert delivery.encrypted == (encryption is not Encryption.NONE)
    assert delivery.user == "us@acme.example"
    assert delivery.greeted_as == "acme.example"
    assert message["Subject"] == mail.subject
    assert message["To"] == CUSTOMER
    assert message["From"] == "Acme Reports <reports@acme.example>"
    assert message["Date"].datetime == START
    assert message["Auto-Submitted"] == "auto-generated"
    assert delivery.message_id == mail.message_id
    assert message.get_body(("plain",)).get_content().replace("\r\n", "\n") == mail.text
    assert message.get_body(("html",)).get_content().replace("\r\n", "\n") == mail.html
    assert delivery.content.isascii()


async def test_connection_is_closed_once_sent(server, make_mailer):
    await make_mailer(server).send(make_mail())

    await eventually(lambda: server.busy == 0)
    assert server.connections == 1


async def test_address_beyond_ascii_goes_where_the_server_can_read_it(make_server, make_mailer):
    server = make_server(utf8=True)

    await make_mailer(server).send(make_mail(to=ARABIC))

    [delivery] = server.deliveries
    assert delivery.to == (ARABIC,)
    assert delivery.options == ("SMTPUTF8",)
    assert delivery.message["To"] == ARABIC


async def test_address_beyond_ascii_is_refused_where_the_server_cannot(make_server, make_mailer, caplog):
    server = make_server(utf8=False)

    with pytest.raises(MailRefusedError, match="SMTPUTF8") as raised:
        await make_mailer(server).send(make_mail(to=ARABIC))

    assert "نور" not in told(raised.value, caplog)
    assert server.deliveries == []


async def test_address_that_cannot_be_said_is_refused(server, make_mailer, caplog):
    strange = f"two {ARABIC}"

    with pytest.raises(MailRefusedError) as raised:
        await make_mailer(server).send(make_mail(to=strange))

    assert ARABIC not in told(raised.value, caplog)
    assert server.deliveries == []


async def test_domain_beyond_ascii_needs_nothing_of_the_server(make_server, make_mailer):
    server = make_server(utf8=False)

    await make_mailer(server).send(make_mail(to="ada@faß.example"))

    # Not "fass", which would be somebody else's.
    [delivery] = server.deliveries
    assert delivery.to == ("ada@xn--fa-hia.example",)


async def test_goodbye_that_fails_changes_nothing(server, make_mailer):
    server.fails(At.QUIT, drop=True)

    await make_mailer(server).send(make_mail())

    assert len(server.deliveries) == 1


async def test_server_that_ignores_the_goodbye_is_left(server, make_mailer):
    server.fails(At.QUIT, hang=True)

    await make_mailer(server, limits=Limits(farewell_seconds=0.05)).send(make_mail())

    await eventually(lambda: server.busy == 0)
    assert len(server.deliveries) == 1


# --- what answers mean ---


@pytest.mark.parametrize(
    ("at", "status", "what", "refused"),
    [
        (At.AUTH, "535 5.7.8", "our login", MailUnavailableError),
        (At.MAIL, "550 5.7.1", "our sender", MailUnavailableError),
        (At.RCPT, "550 5.1.1", "the recipient", MailRefusedError),
        (At.RCPT, "553", "the recipient", MailRefusedError),
        (At.DATA, "554 5.5.1", "the content", MailRefusedError),
        (At.CONTENT, "552 5.3.4", "the content", MailRefusedError),
    ],
)
async def test_no_is_told_by_its_codes(make_server, make_mailer, caplog, at, status, what, refused):
    """One that is about our settings is not final: it must not end customers' e-mails."""
    server = make_server(user="us@acme.example", password=PASSWORD)
    server.fails(at, f"{status} {QUOTING}")

    with pytest.raises(refused, match=f"refused {what} with {status};") as raised:
        await make_mailer(server).send(make_mail())

    assert_nothing_private(told(raised.value, caplog))
    assert server.deliveries == []
    await eventually(lambda: server.busy == 0)


@pytest.mark.parametrize(
    ("at", "status"),
    [
        (At.GREETING, "421 4.3.2"),
        (At.GREETING, "554 5.7.1"),
        (At.EHLO, "421 4.3.2"),
        (At.STARTTLS, "454 4.7.0"),
        (At.AUTH, "454 4.7.0"),
        (At.MAIL, "452 4.3.1"),
        (At.RCPT, "451 4.7.1"),
        (At.RCPT, "421"),
        (At.DATA, "451 4.3.0"),
        (At.CONTENT, "421 4.3.2"),
    ],
)
async def test_no_for_now_is_told_by_its_codes(make_server, make_mailer, caplog, at, status):
    server = make_server(encryption=Encryption.STARTTLS, user="us@acme.example", password=PASSWORD)
    server.fails(at, f"{status} {QUOTING}")

    with pytest.raises(MailUnavailableError, match=f"answered {status} while") as raised:
        await make_mailer(server).send(make_mail())

    assert_nothing_private(told(raised.value, caplog))
    assert server.deliveries == []


async def test_answer_that_is_none_is_told(server, make_mailer, caplog):
    server.fails(At.MAIL, f"HTTP/1.1 400 {QUOTING}")

    with pytest.raises(MailUnavailableError, match="no answer of SMTP") as raised:
        await make_mailer(server).send(make_mail())

    assert_nothing_private(told(raised.value, caplog))


@pytest.mark.parametrize("at", DROPS)
async def test_connection_that_breaks_is_told(make_server, make_mailer, caplog, at):
    server = make_server(encryption=Encryption.STARTTLS, user="us@acme.example", password=PASSWORD)
    server.fails(at, drop=True)

    with pytest.raises(MailUnavailableError) as raised:
        await make_mailer(server).send(make_mail())

    assert_nothing_private(told(raised.value, caplog))
    assert len(server.deliveries) == (at is At.TAKEN)


async def test_stranger_is_taken_the_second_time(server, make_mailer):
    server.fails(At.RCPT, "451 4.7.1 greylisted", times=1)
    mailer = make_mailer(server)

    with pytest.raises(MailUnavailableError):
        await mailer.send(make_mail())
    await mailer.send(make_mail())

    assert len(server.deliveries) == 1


async def test_repeat_after_a_lost_answer_is_recognised(server, make_mailer):
    """The one case in which an e-mail comes twice: SMTP knows no better, mailboxes do."""
    server.fails(At.TAKEN, drop=True, times=1)
    mailer = make_mailer(server)

    with pytest.raises(MailUnavailableError):
        await mailer.send(make_mail())
    await mailer.send(make_mail())

    assert len(server.deliveries) == 2
    assert list(server.mails) == ["mail_1@acme.example"]


async def test_server_that_is_down_is_told(server, make_mailer):
    mailer = make_mailer(server)
    server.stop()

    with pytest.raises(MailUnavailableError, match="cannot be reached"):
        await mailer.send(make_mail())

    server.start()
    await mailer.send(make_mail())


async def test_name_that_leads_nowhere_is_told(server, make_mailer):
    mailer = make_mailer(server, url="smtp://mail.invalid")

    with pytest.raises(MailUnavailableError, match=r"'mail\.invalid:587' cannot be reached"):
        await mailer.check()


# --- time ---


async def test_server_that_says_nothing_more_is_left_wherever_it_stops(make_server, make_mailer):
    """All at once: each waits for its limit."""
    limits = Limits(connect_seconds=1, command_seconds=1, content_seconds=1, farewell_seconds=1)

    async def left_at(at: At) -> Smtp:
        server: Smtp = make_server(encryption=Encryption.STARTTLS, user="u", password=PASSWORD)
        server.fails(at, hang=True)
        with pytest.raises(MailUnavailableError, match="did not answer in time"):
            await make_mailer(server, limits=limits).send(make_mail())
        return server

    servers = await asyncio.gather(*map(left_at, DROPS))

    await eventually(lambda: not any(server.busy for server in servers))


async def test_server_that_is_slow_at_every_word_is_left(server, make_mailer):
    for at in (At.EHLO, At.MAIL, At.RCPT, At.DATA, At.CONTENT):
        server.fails(at, delay_seconds=0.2)

    with pytest.raises(MailUnavailableError, match="did not answer in time"):
        await make_mailer(server, limits=Limits(total_seconds=0.5)).send(make_mail())

    await eventually(lambda: server.busy == 0)
    assert server.deliveries == []


async def test_slow_server_is_waited_for(server, make_mailer):
    server.fails(At.CONTENT, delay_seconds=0.05)

    await make_mailer(server).send(make_mail())

    assert len(server.deliveries) == 1


async def test_cancelled_sending_closes_its_connection(server, make_mailer):
    server.fails(At.CONTENT, hang=True)
    sending = asyncio.ensure_future(make_mailer(server).send(make_mail()))
    await eventually(lambda: server.busy == 1)

    sending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sending
    await eventually(lambda: server.busy == 0)


# --- who it is, and who we are ---


@pytest.mark.parametrize("encryption", [Encryption.STARTTLS, Encryption.TLS])
async def test_certificate_that_nobody_vouches_for_is_not_accepted(make_server, make_mailer, encryption):
    """There is no falling back to no encryption, which is what an eavesdropper would want."""
    server = make_server(encryption=encryption)

    with pytest.raises(MailUnavailableError, match="certificate is not accepted"):
        await make_mailer(server, ssl_context=None).send(make_mail())

    assert server.deliveries == []


async def test_certificate_of_another_name_is_not_accepted(make_server, make_mailer):
    server = make_server(encryption=Encryption.TLS)
    url = server.url.replace("127.0.0.1", "127.0.0.2")

    with pytest.raises(MailUnavailableError):
        await make_mailer(server, url=url).send(make_mail())


async def test_encryption_can_be_left_out_on_purpose(make_server, make_mailer):
    server = make_server(encryption=Encryption.STARTTLS)
    mailer = make_mailer(server, url=f"{server.url}?starttls=no", ssl_context=None)

    await mailer.send(make_mail())

    assert not server.deliveries[0].encrypted


async def test_password_leaves_the_machine_only_encrypted(make_server, make_mailer):
    server = make_server(user="us@acme.example", password=PASSWORD)
    # Leads here, too, and does not look like it.
    mailer = make_mailer(server, url=server.url.replace("127.0.0.1", "0.0.0.0"))
    tried = server.fails(At.AUTH, "535 never asked", times=1)

    with pytest.raises(MailUnavailableError, match="password is not sent in the clear"):
        await mailer.send(make_mail())

    assert tried.times == 1


async def test_wrong_password_is_refused_without_telling_it(make_server, make_mailer, caplog):
    server = make_server(encryption=Encryption.TLS, user="us@acme.example", password="another")
    url = server.url.replace("another", "s3cret-typed-wrong")

    with pytest.raises(MailUnavailableError, match=r"our login with 535 5\.7\.8") as raised:
        await make_mailer(server, url=url).check()

    assert "s3cret-typed-wrong" not in told(raised.value, caplog)


async def test_login_where_there_is_none_is_refused(make_server, make_mailer):
    server = make_server()
    url = server.url.replace("//", "//us:pass@")

    with pytest.raises(MailUnavailableError, match="offers no way to log in"):
        await make_mailer(server, url=url).check()


async def test_check_sends_nothing_and_says_where_mails_go(make_server, make_mailer):
    server = make_server(encryption=Encryption.STARTTLS, user="us@acme.example", password=PASSWORD)

    said = await make_mailer(server).check()

    assert said == f"127.0.0.1:{server.port}, from reports@acme.example"
    assert server.deliveries == []
    await eventually(lambda: server.busy == 0)


async def test_check_tells_of_a_server_that_does_not_answer(server, make_mailer):
    server.fails(At.NOOP, "421 4.3.2 going down")

    with pytest.raises(MailUnavailableError, match="while asking"):
        await make_mailer(server).check()


async def test_log_tells_of_a_mail_by_its_id_only(server, make_mailer, caplog):
    await make_mailer(server).send(make_mail())

    [record] = [each for each in caplog.records if each.name.startswith("holdfast")]
    assert record.message_id == "mail_1@acme.example"
    assert_nothing_private(caplog.text + repr(record.__dict__))


async def test_nothing_is_kept_to_be_forgotten(server, make_mailer):
    assert await make_mailer(server).forget(CUSTOMER) == 0


def assert_nothing_private(text: str) -> None:
    assert "ada.private" not in text
    assert SECRET_TEXT not in text
    assert PASSWORD not in text


def test_schedule_goes_on_for_almost_three_days():
    from holdfast.apps.reports.orders.mail.base import SCHEDULE

    waits = timedelta(seconds=sum(SCHEDULE.waits_seconds))

    assert len(SCHEDULE.waits_seconds) == SCHEDULE.attempts - 1
    assert timedelta(days=2, hours=20) < waits < timedelta(days=3)
