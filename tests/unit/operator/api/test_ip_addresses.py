"""Addresses are those of Python's ipaddress, but for IPv6 with a zone or with an IPv4 address in it."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.api.formats import IP_PATTERN


def is_taken(text: str) -> bool:
    return re.search(IP_PATTERN, text) is not None


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        pytest.param("10.0.0.1", True, id="v4"),
        pytest.param("10.0.0.256", False, id="more-than-a-byte"),
        pytest.param("10.0.0.01", False, id="octal"),
        pytest.param("10.0.0", False, id="three-bytes"),
        pytest.param("fd00::1", True, id="v6"),
        pytest.param("::", True, id="unspecified"),
        pytest.param("1::", True, id="ends-with-zeros"),
        pytest.param("1::2::3", False, id="two-gaps"),
        pytest.param("1:2:3:4:5:6:7:8:9", False, id="nine-groups"),
        pytest.param("fe80::1%eth0", False, id="zone"),
        pytest.param("localhost", False, id="name"),
    ],
)
def test_an_address(text: str, taken: bool) -> None:
    assert is_taken(text) is taken


@given(st.ip_addresses())
def test_every_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert is_taken(str(address))
    assert is_taken(address.exploded)


@given(st.text(alphabet="0123456789af:.", max_size=20))
def test_no_other(text: str) -> None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        assert not is_taken(text)
    else:
        assert is_taken(text) is ("." not in text or address.version == 4)
