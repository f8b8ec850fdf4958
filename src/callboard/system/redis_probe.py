"""Whether a Redis answers: the one word of its protocol that health needs, so no client is needed for it."""

import asyncio
import ssl
from urllib.parse import urlsplit

REDIS_PORT = 6379


async def redis_answers(url: str, timeout_seconds: float) -> bool:
    """Return whether something that speaks Redis answers at `url`; one that asks for a password does answer."""
    parts = urlsplit(url)
    tls = ssl.create_default_context() if parts.scheme == "rediss" else None
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_connection(
                parts.hostname or "127.0.0.1", parts.port or REDIS_PORT, ssl=tls
            )
            try:
                writer.write(b"PING\r\n")
                answer = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):  # ValueError: a port that is no number
        return False
    return answer.startswith((b"+PONG", b"-NOAUTH"))
