from ipaddress import ip_address, ip_network

import pytest

from holdfast.errors import InvalidInputError
from holdfast.webhooks.addresses import check_url, is_public

INSIDE = [
    *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1"),
    *("192.0.0.1", "192.0.2.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::7f00:1", "100::1", "2001:db8::1", "fc00::1", "fd12::1", "fe80::1", "fe80::1%lo"),
    *("fec0::1", "ff02::1", "2001::1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1"),
]
OUTSIDE = [
    *("93.184.215.14", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"),
    "2002:808:808::1",
]


@pytest.mark.parametrize("address", INSIDE)
def test_address_of_a_place_of_ours_is_not_public(address):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", OUTSIDE)
def test_address_of_the_internet_is_public(address):
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "begin with https"),
        ("shop.example/hooks", "begin with https"),
        ("ftp://shop.example", "begin with https"),
        ("https://", "begin with https"),
        ("https://user:password@shop.example", "a user, a password"),
        ("https://shop.example/#part", "fragment"),
        ("https://shop.example/" + "x" * 2_000, "longer than 2,000"),
        ("https://shop.example:port", "cannot be used"),
        ("https://shop.example/\x00", "cannot be used"),
        ("http://shop.example", "can be read on its way"),
        ("https://127.0.0.1", "not public"),
        ("https://[::1]", "not public"),
        ("https://[::ffff:10.0.0.1]/", "not public"),
        ("http://93.184.215.14", "can be read on its way"),
    ],
)
def test_url_that_could_never_be_told_is_refused(url, told):
    with pytest.raises(InvalidInputError, match=told) as raised:
        check_url(url, ())

    assert "password@" not in str(raised.value)


def test_allowed_network_is_told_without_tls_and_the_others_are_not():
    networks = (ip_network("10.0.0.0/8"),)

    check_url("http://10.1.2.3:8080/hooks", networks)
    check_url("https://[::ffff:10.1.2.3]/", networks)
    check_url("http://inside.example/", networks)
    with pytest.raises(InvalidInputError, match="not public"):
        check_url("https://192.168.0.1", networks)


def test_public_url_is_taken():
    check_url("https://shop.example:8443/hooks?a=b", ())
    check_url("https://bücher.example/", ())
