"""Cursors: given out, taken back, refused."""

from uuid import UUID

import pytest

from callboard.core.ids import new_uuid
from callboard.core.pagination import InvalidCursorError, decode_cursor, encode_cursor


class TestDecodeCursor:
    def test_gives_back_what_was_encoded(self) -> None:
        ids = [new_uuid(), UUID(int=0), UUID(int=2**128 - 1)]

        assert [decode_cursor(encode_cursor(each)) for each in ids] == ids

    @pytest.mark.parametrize("cursor", ["", "abc", "\x00", "\u00e4" * 22, "A" * 21, "A" * 23, "A" * 5000, "{}"])
    def test_refuses_what_no_list_gave_out(self, cursor: str) -> None:
        with pytest.raises(InvalidCursorError) as caught:
            decode_cursor(cursor)

        assert [finding.pointer for finding in caught.value.errors] == ["/query/cursor"]


class TestEncodeCursor:
    def test_needs_no_escaping_in_a_url(self) -> None:
        cursor = encode_cursor(UUID(int=2**128 - 1))

        assert cursor.replace("-", "").replace("_", "").isalnum()
