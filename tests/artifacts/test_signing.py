"""Links against AWS's published example and against two other implementations."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import obstore
import pytest
from obstore.store import S3Store

from holdfast.artifacts.signing import Signer, attachment

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # of AWS's documentation
SIGNER = Signer(access_key_id="AKIAIOSFODNN7EXAMPLE", secret_access_key=SECRET, region="us-east-1")
DAY = timedelta(days=1)


def query_of(url):
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def signed_at(url):
    return datetime.strptime(query_of(url)["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def test_published_example_gets_its_published_signature():
    url = SIGNER.presign(
        "https://examplebucket.s3.amazonaws.com/test.txt",
        {},
        now=datetime(2013, 5, 24, tzinfo=UTC),
        expires=DAY,
    )

    assert (
        query_of(url)["X-Amz-Signature"]
        == "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


@pytest.mark.parametrize(
    ("endpoint", "prefix"),
    [
        ("https://s3.example.org:9000", "a b/ü+~"),
        ("https://s3.example.org", "a#b/c?d=e&f%20"),
        ("https://s3.example.org:443", "x"),
        ("https://S3.Example.org", "x"),
        ("http://s3.example.org:80", "x"),
        ("http://s3.example.org:443", "x"),
        ("https://[::1]:443", "x"),
    ],
)
def test_link_equals_that_of_obstore(endpoint, prefix):
    store = S3Store(
        "bucket",
        prefix=prefix,
        client_options={"allow_http": True},
        config={
            "aws_endpoint_url_s3": endpoint,
            "access_key_id": SIGNER.access_key_id,
            "secret_access_key": SECRET,
            "session_token": "to/ken==",
            "region": "us-east-1",
        },
    )
    theirs = obstore.sign(store, "GET", "ab/abc", DAY)
    signer = Signer(
        access_key_id=SIGNER.access_key_id,
        secret_access_key=SECRET,
        session_token="to/ken==",
        region="us-east-1",
    )

    ours = signer.presign(f"{endpoint}/bucket/{prefix}/ab/abc", {}, now=signed_at(theirs), expires=DAY)

    assert query_of(ours) == query_of(theirs)
    assert ours.partition("?")[0] == theirs.partition("?")[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # botocore's own, on some Pythons
def test_link_with_name_and_type_equals_that_of_botocore():
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    client = boto3.client(
        "s3",
        endpoint_url="https://s3.example.org",
        aws_access_key_id=SIGNER.access_key_id,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    disposition = attachment('Ωμέγα "2026"; 100%.pdf')
    theirs = client.generate_presigned_url(
        "get_object",
        Params={
            "Bucket": "bucket",
            "Key": "ab/abc",
            "ResponseContentDisposition": disposition,
            "ResponseContentType": "application/pdf",
        },
        ExpiresIn=3600,
    )

    ours = SIGNER.presign(
        "https://s3.example.org/bucket/ab/abc",
        {
            "response-content-disposition": disposition,
            "response-content-type": "application/pdf",
        },
        now=signed_at(theirs),
        expires=timedelta(hours=1),
    )

    assert query_of(ours) == query_of(theirs)


def test_secrets_are_not_shown():
    assert SECRET not in repr(SIGNER)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("report.pdf", "attachment; filename=\"report.pdf\"; filename*=UTF-8''report.pdf"),
        ("Ω 1%.pdf", "attachment; filename=\"_ 1_.pdf\"; filename*=UTF-8''%CE%A9%201%25.pdf"),
        ('a"\r\n/\\b', "attachment; filename=\"a_____b\"; filename*=UTF-8''a_____b"),
        ("", "attachment; filename=\"artifact\"; filename*=UTF-8''artifact"),
    ],
)
def test_browser_is_told_a_name_that_cannot_break_out_of_the_header(name, expected):
    assert attachment(name) == expected
