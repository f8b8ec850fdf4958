"""Server-sent events, cut anywhere."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.llm.event_stream import EventStreamReader, ServerSentEvent


def _read(*chunks: bytes) -> list[ServerSentEvent]:
    reader = EventStreamReader()
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return [*events, *reader.finish()]


class TestEventStreamReader:
    @pytest.mark.parametrize(
        ("stream", "events"),
        [
            (b"data: a\n\n", [("a", "message")]),
            (b"data:a\n\ndata:  b\n\n", [("a", "message"), (" b", "message")]),
            (b"event: ping\r\ndata: a\r\n\r\n", [("a", "ping")]),
            (b"data: a\r\rdata: b\r\r", [("a", "message"), ("b", "message")]),
            (b"data: a\ndata: b\n\n", [("a\nb", "message")]),
            (b": OPENROUTER PROCESSING\n\ndata: a\n\n", [("a", "message")]),
            (b"\xef\xbb\xbfdata: a\n\n", [("a", "message")]),
            (b"id: 1\nretry: 5\nunknown: x\ndata: a\n\n", [("a", "message")]),
            (b"event: e\n\ndata: a\n\n", [("a", "message")]),
            (b"data\n\n", [("", "message")]),
            (b"data: a", [("a", "message")]),
            (b"\n\n\n", []),
            (b"", []),
        ],
        ids=[
            "one", "spaces", "crlf", "cr", "two lines", "comment", "byte order mark",
            "other fields", "a name without data", "empty data", "no last blank line", "blank lines", "nothing",
        ],
    )  # fmt: skip
    def test_reads_the_format(self, stream: bytes, events: list[tuple[str, str]]) -> None:
        assert [(event.data, event.name) for event in _read(stream)] == events

    def test_a_line_end_cut_in_two_is_one_line_end(self) -> None:
        stream = b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n"

        for cut in range(len(stream)):
            assert [event.data for event in _read(stream[:cut], stream[cut:])] == ["a\nb", "c"]

    @given(
        texts=st.lists(st.text(alphabet="aé€😀 :", min_size=1), max_size=4),
        line_end=st.sampled_from(["\n", "\r\n", "\r"]),
        cuts=st.lists(st.integers(min_value=0, max_value=100), max_size=8),
    )
    def test_reads_the_same_wherever_it_is_cut(self, texts: list[str], line_end: str, cuts: list[int]) -> None:
        stream = "".join(f"data: {text}{line_end}data: 2{line_end}{line_end}" for text in texts).encode()
        edges = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
        chunks = [stream[start:end] for start, end in pairwise(edges)]

        assert [event.data for event in _read(*chunks)] == [f"{text}\n2" for text in texts]
