"""What e-mails say, and that all of it arrives in any script."""

import email
import re
from datetime import UTC, datetime
from email import policy
from email.header import decode_header, make_header

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.apps.reports.orders.mail.base import Sender
from holdfast.apps.reports.orders.mail.messages import MailPart, compose, message_id_of
from holdfast.apps.reports.orders.mail.mime import encode
from holdfast.apps.reports.orders.mail.texts import about
from holdfast.apps.reports.orders.models import MailSort
from tests.apps.reports.orders.mail.conftest import CUSTOMER, OTHER_PART, PART, SENDER, make_facts

AT = datetime(2026, 11, 27, 6, tzinfo=UTC)
MISSING = MailPart(title="Personal Blueprint")
BUNDLE = {"title": "The Complete Bundle", "price": "$99.99"}


def mail_of(sort=MailSort.READY, *, again=None, **facts):
    return compose(sort, make_facts(**facts), to=CUSTOMER, sender=SENDER, again=again)


def read(mail):
    """Return an e-mail as a mail program reads it."""
    return email.message_from_bytes(encode(mail, SENDER, AT, to=mail.to), policy=policy.default)


def body_of(message, subtype):
    return message.get_body((subtype,)).get_content().replace("\r\n", "\n")


def links_of(html):
    return [link.replace("&amp;", "&") for link in re.findall(r'href="(https[^"]+)"', html)]


# --- in any script ---


@pytest.mark.parametrize(
    "name",
    [
        "نور الهدى بنت عبد الرحمن",
        "山田 花子",
        "Zoë Ünal-Ñuñez",
        'Ada "the <b>bold</b>" & Sons',
        "می‌خواهم",  # with the sign that keeps letters apart
        "🙂 O'Neil",
    ],
)
@pytest.mark.parametrize("sort", MailSort)
def test_name_arrives_to_the_byte(sort, name):
    mail = mail_of(sort, name=name)

    message = read(mail)

    assert str(message["Subject"]).endswith(f"for {name}")
    assert name in body_of(message, "plain")
    escaped = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = escaped.replace('"', "&#34;").replace("'", "&#39;")
    assert f'<span dir="auto">{escaped}</span>' in body_of(message, "html")
    assert "<b>" not in mail.html


@settings(max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80))
@example("00 00¡0¡0000¡¡𐏀 萉")  # the standard library loses the last space, left to itself
@example("=?utf-8?q?Grace?=")
def test_whatever_a_name_holds_both_readers_of_headers_agree(name):
    mail = mail_of(name=name, title="Das Jahr")

    content = encode(mail, SENDER, AT, to=mail.to)

    message = email.message_from_bytes(content, policy=policy.default)
    headers_only = email.message_from_bytes(content)
    assert message["Subject"] == mail.subject
    assert str(make_header(decode_header(headers_only["Subject"]))) == mail.subject
    assert body_of(message, "plain") == mail.text
    assert body_of(message, "html") == mail.html
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 100
    assert message.defects == []


def test_line_breaks_in_a_name_become_spaces():
    mail = mail_of(name="Ada\r\nBcc: all@example.com\u2028x")

    message = read(mail)

    assert message["Bcc"] is None
    assert str(message["Subject"]).endswith("for Ada Bcc: all@example.com x")


def test_long_name_is_cut_in_the_subject_only():
    mail = mail_of(name="é" * 200)

    assert len(mail.subject) < 100
    assert mail.subject.endswith("é…")
    assert "é" * 200 in mail.text


@pytest.mark.parametrize(
    "name", ["", 'Acme, "Ltd."', '山田の店, "Ltd."', "=?utf-8?q?Acme?=", "Zoë Ünal"]
)
def test_name_of_the_sender_arrives_in_any_script(name):
    sender = Sender(name=name.strip(), address="reports@acme.example")
    mail = compose(MailSort.READY, make_facts(), to=CUSTOMER, sender=sender)

    message = email.message_from_bytes(encode(mail, sender, AT, to=mail.to), policy=policy.default)

    [found] = message["From"].addresses
    assert (found.display_name, found.addr_spec) == (sender.name, sender.address)
    assert sender.shown in mail.text


# --- what they say ---


def test_confirmation_tells_how_long_it_takes():
    mail = mail_of(MailSort.CONFIRMATION, eta_seconds=1500)

    assert mail.subject == "Your order: The Year Ahead for Ada Example"
    for body in (mail.text, mail.html):
        assert "It should be ready in about 25 minutes." in " ".join(body.split())
        assert "Your payment of $59.99 has arrived" in " ".join(body.split())
        assert "order_1" in body
        assert "26 January 2027" in body
        assert "reports@acme.example" in body


def test_confirmation_admits_that_it_cannot_tell():
    assert "We cannot say yet how long that will take." in mail_of(MailSort.CONFIRMATION).html


def test_confirmation_of_a_bundle_names_its_parts():
    parts = (MailPart(title="Life Clarity"), MailPart(title="The Year Ahead"))

    mail = mail_of(MailSort.CONFIRMATION, parts=parts, eta_seconds=60, **BUNDLE)

    assert "* Life Clarity (in the making)" in mail.text
    assert "* The Year Ahead (in the making)" in mail.text
    assert "All of it should be ready in about a minute." in " ".join(mail.text.split())


def test_ready_mail_leads_to_the_file_and_says_for_how_long():
    mail = mail_of()

    assert mail.subject == "Ready: The Year Ahead for Ada Example"
    assert links_of(mail.html) == [PART.file_url]
    assert PART.file_url in mail.text
    for body in (mail.text, mail.html):
        assert "PDF, 1,720 pages, 14.2 MB" in body
        assert "The link works until 26 January 2027." in body


def test_ready_mail_of_a_bundle_has_a_link_for_each_part():
    facts = make_facts(parts=(OTHER_PART, PART), **BUNDLE)

    mail = compose(MailSort.READY, facts, to=CUSTOMER, sender=SENDER)

    assert links_of(mail.html) == [OTHER_PART.file_url, PART.file_url, facts.page_url]
    for link in links_of(mail.html):
        assert link in mail.text.split()
    assert "PDF, 19 pages" in mail.text


def test_failed_mail_says_what_happens_next():
    mail = mail_of(MailSort.FAILED, parts=(MailPart(title="The Year Ahead"),))

    text = " ".join(mail.text.split())
    assert mail.subject == "A problem with your order: The Year Ahead for Ada Example"
    assert "There is nothing that you need to do." in text
    assert "What happens next: 1. A person looks at every order" in text
    assert "2. We go on from where it stopped" in text
    assert "3. If we cannot make it after all, you get your money back." in text
    assert links_of(mail.html) == [make_facts().page_url]


def test_failed_mail_of_a_bundle_delivers_the_parts_that_are_ready():
    mail = mail_of(MailSort.FAILED, parts=(OTHER_PART, MISSING, PART), **BUNDLE)

    text = " ".join(mail.text.split())
    assert mail.subject == "Ready in part: The Complete Bundle for Ada Example"
    assert "Two of your three reports are ready." in text
    assert "while we were making Personal Blueprint." in text
    assert "* Personal Blueprint (not ready yet)" in text
    assert "you get your money back for it" in text
    assert links_of(mail.html)[:2] == [OTHER_PART.file_url, PART.file_url]


@pytest.mark.parametrize("sort", MailSort)
def test_test_order_says_that_nobody_paid(sort):
    mail = mail_of(sort, test=True)

    assert mail.subject.startswith("[Test] ")
    for body in (mail.text, mail.html):
        assert "nobody paid anything" in body
        assert "$59.99" not in body
        assert "money back" not in body


@pytest.mark.parametrize("sort", MailSort)
def test_html_loads_nothing_and_has_one_button(sort):
    html = mail_of(sort).html

    assert not re.search(r"<img|<link|<script|src=|url\(|@import", html)
    assert html.count('class="button"') == 1
    assert len(html.encode()) < 100_000  # more is cut off by Gmail


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "less than a minute"),
        (44, "less than a minute"),
        (60, "about a minute"),
        (61, "about 2 minutes"),
        (600, "about 10 minutes"),
        (601, "about 15 minutes"),
        (3300, "about 55 minutes"),
        (3301, "about an hour"),
        (3601, "about 1½ hours"),
        (7200, "about 2 hours"),
        (84_000, "about 23½ hours"),
        (86_400, "about a day"),
        (86_401, "about 2 days"),
    ],
)
def test_time_to_wait_is_never_told_too_short(seconds, words):
    assert about(seconds) == words


# --- its id ---


def test_message_id_is_derived_from_order_sort_and_sending():
    ids = [mail_of(sort).message_id for sort in MailSort]
    ids.append(mail_of(MailSort.READY, again="act_1").message_id)
    ids.append(mail_of(MailSort.READY, order_id="order_2").message_id)

    assert len(set(ids)) == len(ids)
    assert all(each.startswith("mail_") and each.endswith("@acme.example") for each in ids)
    assert message_id_of("order_1", MailSort.READY, SENDER) == mail_of(MailSort.READY).message_id
    assert mail_of(MailSort.READY) == mail_of(MailSort.READY)
