import pytest

from holdfast.apps.reports.orders.mail.base import Sender, parse_sender
from holdfast.errors import ConfigError
from tests.apps.reports.orders.mail.conftest import make_mail


@pytest.mark.parametrize(
    ("text", "sender"),
    [
        (
            "Acme Reports <reports@Acme.Example>",
            Sender(name="Acme Reports", address="reports@acme.example"),
        ),
        ("reports@acme.example", Sender(name="", address="reports@acme.example")),
        ('"Acme, Ltd." <r@acme.example>', Sender(name="Acme, Ltd.", address="r@acme.example")),
        (
            "Bücher 本 <r@xn--bcher-kva.example>",
            Sender(name="Bücher 本", address="r@xn--bcher-kva.example"),
        ),
        ("Tests <reports@localhost>", Sender(name="Tests", address="reports@localhost")),
    ],
)
def test_sender_is_read(text, sender):
    assert parse_sender(text) == sender


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Acme Reports",
        "reports@",
        "@acme.example",
        "a@acme.example, b@acme.example",
        "Acme <reports@acme.example",
        "Acme <reports@acme_example>",
        "Acme <reports@acme/../example>",
        "Acme <reports@bücher.example>",
        "Acme <réports@acme.example>",
        "Acme <reports@acme.example>\r\nBcc: all@acme.example",
    ],
)
def test_sender_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="HOLDFAST_MAIL_FROM"):
        parse_sender(text)


def test_sender_without_a_name_is_shown_by_its_address():
    assert Sender(name="", address="reports@acme.example").shown == "reports@acme.example"
    assert Sender(name="", address="reports@acme.example").domain == "acme.example"


def test_repr_of_a_mail_tells_its_id_only():
    assert repr(make_mail()) == "Mail(message_id='mail_1@acme.example')"
