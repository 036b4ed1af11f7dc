import pytest
from pydantic import SecretStr

from holdfast.apps.reports.orders.mail.outbox import OutboxMailer
from holdfast.apps.reports.orders.mail.smtp import SmtpMailer
from holdfast.errors import ConfigError
from holdfast.settings import Settings
from holdfast.testing.clock import ManualClock
from holdfast.wiring.mail import open_mailer

SMTP = SecretStr("smtp://mail.example")
FROM = "Acme Reports <reports@acme.example>"


@pytest.mark.parametrize("mode", ["live", "test"])
def test_server_that_is_set_is_used(mode, tmp_path):
    mailer = open_mailer(Settings(home=tmp_path, smtp_url=SMTP, mail_from=FROM), mode, ManualClock())

    assert isinstance(mailer, SmtpMailer)
    assert mailer.sender.address == "reports@acme.example"


@pytest.mark.parametrize(("mail_from", "shown"), [("", "Holdfast Reports"), (FROM, "Acme Reports")])
async def test_shop_in_test_mode_keeps_mails_in_the_home_folder(tmp_path, mail_from, shown):
    settings = Settings(home=tmp_path, smtp_url=None, mail_from=mail_from)

    mailer = open_mailer(settings, "test", ManualClock())

    assert isinstance(mailer, OutboxMailer)
    assert mailer.sender.shown == shown
    assert await mailer.check() == f"files in {tmp_path / 'outbox'}, sent to nobody"


def test_shop_that_is_paid_needs_a_server(tmp_path):
    with pytest.raises(ConfigError, match="set HOLDFAST_SMTP_URL and HOLDFAST_MAIL_FROM"):
        open_mailer(Settings(home=tmp_path, smtp_url=None, mail_from=FROM), "live", ManualClock())


def test_server_needs_a_sender(tmp_path):
    with pytest.raises(ConfigError, match="HOLDFAST_MAIL_FROM is not"):
        open_mailer(Settings(home=tmp_path, smtp_url=SMTP, mail_from=""), "live", ManualClock())
