import email
import stat
from email import policy

import pytest

from holdfast.apps.reports.orders.mail.outbox import OutboxMailer
from holdfast.errors import MailRefusedError, MailUnavailableError
from holdfast.testing.clock import ManualClock
from tests.apps.reports.orders.mail.conftest import CUSTOMER, SENDER, make_mail


@pytest.fixture
def outbox(tmp_path):
    return OutboxMailer(tmp_path / "home" / "outbox", SENDER, ManualClock())


async def test_mail_is_kept_as_a_file_that_only_its_owner_reads(outbox, tmp_path):
    mail = make_mail(subject="نور")

    await outbox.send(mail)

    [path] = (tmp_path / "home" / "outbox").iterdir()
    message = email.message_from_bytes(path.read_bytes(), policy=policy.default)
    assert path.name == "mail_1@acme.example.eml"
    assert message["Subject"] == "نور"
    assert message["To"] == CUSTOMER
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_repeat_is_one_file(outbox):
    await outbox.send(make_mail(text="first\n"))

    await outbox.send(make_mail(text="second\n"))

    path = outbox.path_of("mail_1@acme.example")
    assert list(path.parent.iterdir()) == [path]
    assert b"second" in path.read_bytes()


async def test_id_cannot_lead_out_of_the_folder(outbox, tmp_path):
    await outbox.send(make_mail(message_id="../../x@acme.example"))

    assert [path.name for path in (tmp_path / "home" / "outbox").iterdir()] == [
        "..%2F..%2Fx@acme.example.eml"
    ]


async def test_mails_to_somebody_are_forgotten_however_the_address_is_written(outbox):
    await outbox.send(make_mail(message_id="one@acme.example"))
    await outbox.send(make_mail(message_id="two@acme.example", to="نور@customer.example"))
    await outbox.send(make_mail(message_id="three@acme.example", to=CUSTOMER.upper()))
    left_by_a_crash = outbox.path_of("one@acme.example").with_name("four@acme.example.eml.4711")
    left_by_a_crash.write_bytes(outbox.path_of("one@acme.example").read_bytes())

    assert await outbox.forget(f" {CUSTOMER.title()}") == 3
    assert await outbox.forget(CUSTOMER) == 0
    assert await outbox.forget("نور@customer.example") == 1
    assert list(outbox.path_of("x").parent.iterdir()) == []


async def test_nothing_was_kept_before_the_first_mail(outbox):
    assert await outbox.forget(CUSTOMER) == 0


async def test_header_with_a_line_break_is_refused_and_not_told(outbox):
    with pytest.raises(MailRefusedError, match="a header holds what headers must not") as raised:
        await outbox.send(make_mail(subject="private\r\nBcc: all@customer.example"))

    assert "private" not in f"{raised.value}{raised.value.__context__!r}"


@pytest.mark.parametrize("to", ["two words@x.example", "a@x.example\r\nBcc: b@x.example", "nobody", ""])
async def test_address_that_is_none_is_refused(outbox, to):
    with pytest.raises(MailRefusedError):
        await outbox.send(make_mail(to=to))


async def test_folder_that_cannot_be_written_to_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    outbox = OutboxMailer(tmp_path / "file" / "outbox", SENDER, ManualClock())

    with pytest.raises(MailUnavailableError, match="cannot be kept"):
        await outbox.send(make_mail())
    with pytest.raises(MailUnavailableError, match="cannot be kept"):
        await outbox.check()


async def test_check_says_that_nobody_gets_anything(outbox):
    assert (await outbox.check()).endswith("outbox, sent to nobody")
