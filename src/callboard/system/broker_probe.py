"""Whether a Redis or a RabbitMQ answers: the first words of their protocols, so health needs no client of theirs."""

import asyncio
import ssl
from urllib.parse import urlsplit

PORTS = {"redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671}
GREETINGS = {
    "redis": b"PING\r\n",
    "rediss": b"PING\r\n",
    "amqp": b"AMQP\x00\x00\x09\x01",
    "amqps": b"AMQP\x00\x00\x09\x01",
}
# Redis that asks for a password does answer; RabbitMQ begins with a frame of methods, and with its own greeting
# where it does not speak this version.
ANSWERS = (b"+PONG", b"-NOAUTH", b"\x01", b"AMQP")
LONGEST_ANSWER_BYTES = 7


async def broker_answers(url: str, timeout_seconds: float) -> bool:
    """Return whether the kind of server that `url` names answers there."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port or PORTS[parts.scheme]
        tls = ssl.create_default_context() if parts.scheme in {"rediss", "amqps"} else None
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls)
            try:
                writer.write(GREETINGS[parts.scheme])
                answer = await reader.read(LONGEST_ANSWER_BYTES)
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError, KeyError):  # ValueError, KeyError: a port or a scheme that is none
        return False
    return answer.startswith(ANSWERS)
