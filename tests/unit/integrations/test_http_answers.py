"""What a step gets of an HTTP answer; the rest is in tests/contract/test_http_service.py, over a socket."""

import pytest
from multidict import CIMultiDict

from callboard.core.http_client import HttpResponse
from callboard.integrations.errors import ServiceAnswerUnusableError
from callboard.integrations.http_answers import read_data, show_location


class TestReadData:
    def test_takes_an_answer_without_a_type_for_text(self) -> None:
        assert read_data("get", HttpResponse(status=200, headers={}, body="grüezi".encode()), "a.example") == "grüezi"

    def test_says_when_one_without_a_type_is_no_text(self) -> None:
        with pytest.raises(ServiceAnswerUnusableError, match="with something without a content type"):
            read_data("get", HttpResponse(status=200, headers={}, body=b"\xff"), "a.example")

    def test_joins_a_header_that_comes_twice(self) -> None:
        headers = CIMultiDict([("Link", "a"), ("link", "b")])

        data = read_data("head", HttpResponse(status=200, headers=headers, body=b""), "a.example")

        assert data == {"headers": {"link": "a, b"}}


class TestShowLocation:
    @pytest.mark.parametrize(
        ("location", "shown"),
        [
            ("https://u:p@a.example/x?key=s#f", "https://a.example/x"),
            ("/x?key=s", "/x"),
            ("http://[x", "an address that cannot be read"),
        ],
    )
    def test_leaves_out_what_may_be_secret(self, location: str, shown: str) -> None:
        assert show_location(HttpResponse(status=302, headers={"Location": location}, body=b"")) == shown
