import pytest

from holdfast.apps.reports.orders.mail.server import Encryption, SmtpServer, parse_smtp_url
from holdfast.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "server"),
    [
        (
            "smtp://mail.example",
            SmtpServer(host="mail.example", port=587, encryption=Encryption.STARTTLS),
        ),
        (
            "smtps://mail.example/",
            SmtpServer(host="mail.example", port=465, encryption=Encryption.TLS),
        ),
        (
            "smtp://localhost:25?starttls=no",
            SmtpServer(host="localhost", port=25, encryption=Encryption.NONE),
        ),
        (
            "smtps://us%40acme.example:p%3A%40%2Fw%C3%B6rd%25@[::1]:4650",
            SmtpServer(
                host="::1",
                port=4650,
                encryption=Encryption.TLS,
                user="us@acme.example",
                password="p:@/wörd%",
            ),
        ),
    ],
)
def test_url_is_read(url, server):
    assert parse_smtp_url(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.example:587",
        "http://u:s3cret@mail.example",
        "smtp://u:s3cret@",
        "smtp://u:s3cret/more@mail.example",
        "smtp://u:s3cret#more@mail.example",
        "smtp://u:s3cret?more@mail.example",
        "smtp://u:s3cret@mail.example:s3cret",
        "smtp://u:s3cret@mail.example:99999",
        "smtp://u:s3cret@[mail.example",
        "smtp://u:s3cret@mail.example/inbox",
        "smtp://u:s3cret@mail.example?tls=s3cret",
        "smtps://u:s3cret@mail.example?starttls=no",
        "smtp://u@mail.example",
        "smtp://:s3cret@mail.example",
        "smtp://u:s3cret%FF@mail.example",
        "smtp://u:s3cret@mail .example",
    ],
)
def test_url_that_cannot_be_used_is_told_without_its_password(url):
    with pytest.raises(ConfigError, match="HOLDFAST_SMTP_URL cannot be used") as raised:
        parse_smtp_url(url)

    error = raised.value
    assert "s3cret" not in f"{error}{error.__context__!r}"


def test_nothing_secret_is_in_the_repr():
    server = parse_smtp_url("smtp://us:s3cret@mail.example")

    assert "s3cret" not in repr(server)
    assert server.shown == "mail.example:587"
