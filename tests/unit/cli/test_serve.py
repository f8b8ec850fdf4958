"""Where a server listens, and what is said when it cannot."""

import socket

import pytest

from callboard.cli.failures import CommandError
from callboard.cli.serve import _listen


class TestListen:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
    def test_listens(self, host: str) -> None:
        with _listen(host, 0) as listener:
            port = listener.getsockname()[1]

            with socket.create_connection(("127.0.0.1", port), timeout=5):
                pass

    def test_a_taken_port(self) -> None:
        with _listen("127.0.0.1", 0) as listener, pytest.raises(CommandError, match="--port 0"):
            _listen("127.0.0.1", listener.getsockname()[1])

    def test_an_address_that_is_not_here(self) -> None:
        with pytest.raises(CommandError, match=r"192\.0\.2\.1"):
            _listen("192.0.2.1", 0)
