"""Which addresses a URL that somebody else chose may lead to: the URL guard.

`integrations/http.py` checks the URLs of workflow files with it; `core/http_client.py` asks it again for the
addresses of every new connection, since a name may have others by then. No network here.
"""

import difflib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit, urlunsplit

from callboard.core.errors import PermanentError
from callboard.core.public_addresses import (
    LIFTABLE_KINDS,
    AddressKind,
    IpAddress,
    classify_address,
    read_odd_ipv4,
)

MAX_URL_CHARS = 8192
DEFAULT_PORTS = {"http": 80, "https": 443}
PUBLIC_PORTS = frozenset({443, 8443})  # where a host that no rule names may be called

# Stricter than the standard, so that no two readers of a URL disagree about where it leads.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\\]")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_RULE = re.compile(r"(?P<wildcard>\*\.)?(?P<authority>[^*]+)")


class UrlRefusedError(PermanentError):
    """The address may not be called."""

    code = "url_refused"
    category = "workflow"


@dataclass(frozen=True, slots=True)
class HostRule:
    """A host that may be called, or with `is_wildcard` those below it; `port` None: on 80 and 443."""

    host: str
    port: int | None = None
    is_wildcard: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'*.' if self.is_wildcard else ''}{host}{'' if self.port is None else f':{self.port}'}"


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The hosts that an operator named. One named without `*` may lie in a private network and need no https."""

    rules: tuple[HostRule, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "AllowedHosts":
        """Return the rules that `entries` write: `host`, `host:port` or `*.host`.

        Raises: ValueError, with what is wrong with which entry.
        """
        return cls(tuple(_parse_rule(entry.strip()) for entry in entries))

    def find(self, host: str, port: int) -> HostRule | None:
        """Return the rule that allows `host` on `port`, one without `*` first, or None."""
        fitting = [rule for rule in self.rules if _names(rule, host) and _has_port(rule, port)]
        return min(fitting, key=lambda rule: rule.is_wildcard, default=None)

    def names(self, host: str) -> bool:
        """Return whether a rule names `host`, on whatever port."""
        return any(_names(rule, host) for rule in self.rules)

    def __bool__(self) -> bool:
        return bool(self.rules)

    def __str__(self) -> str:
        return ", ".join(map(str, self.rules))


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedUrl:
    """A URL that may be called, in the one spelling that is sent, without a fragment."""

    url: str
    host: str
    port: int


class UrlGuard:
    """Decides by the rules of one setting. With `only_allowed`, hosts that no rule names are refused, too."""

    def __init__(self, allowed: AllowedHosts, *, setting: str, only_allowed: bool) -> None:
        self._allowed = allowed
        self._setting = setting
        self._only_allowed = only_allowed

    def check(self, url: str) -> GuardedUrl:
        """Return `url` as it may be called.

        Raises: UrlRefusedError, saying what is refused and which setting lifts that, where one does. It names
        the host alone: keys may stand in the rest.
        """
        parts = _split(url)
        host, port = _read_authority(parts)
        rule = self._allowed.find(host, port)
        if rule is None:
            self._refuse_unnamed(host, port)
        if parts.scheme == "http" and (rule is None or rule.is_wildcard):
            raise UrlRefusedError(
                f"http://{_show(host)} is not encrypted. Call it by https://, "
                f"or add {_show(host)} itself to {self._setting}."
            )
        address = _read_address(host)
        if address is not None:
            self.check_addresses(host, port, [address])
        authority = _show(host) if port == DEFAULT_PORTS[parts.scheme] else f"{_show(host)}:{port}"
        clean = urlunsplit((parts.scheme, authority, parts.path or "/", parts.query, ""))
        return GuardedUrl(url=clean, host=host, port=port)

    def check_addresses(self, host: str, port: int, addresses: Iterable[IpAddress]) -> None:
        """Accept the `addresses` that `host` has at this moment. Raises: UrlRefusedError when one is not public."""
        rule = self._allowed.find(host, port)
        is_named = rule is not None and not rule.is_wildcard
        for address in addresses:
            kind = classify_address(address)
            if kind is AddressKind.PUBLIC or (is_named and kind in LIFTABLE_KINDS):
                continue
            where = f"{_show(host)} leads to {kind.value}, not to the public internet."
            if kind in LIFTABLE_KINDS:
                wanted = HostRule(host, None if port in DEFAULT_PORTS.values() else port)
                raise UrlRefusedError(f"{where} Add {wanted} to {self._setting} to allow that.")
            raise UrlRefusedError(f"{where} It cannot be called.")

    def _refuse_unnamed(self, host: str, port: int) -> None:
        shown = _show(host)
        if self._allowed.names(host) or (not self._only_allowed and port not in PUBLIC_PORTS):
            raise UrlRefusedError(f"{shown} may not be called on port {port}. Add {shown}:{port} to {self._setting}.")
        if self._only_allowed:
            wanted = HostRule(host, None if port in DEFAULT_PORTS.values() else port)
            raise UrlRefusedError(
                f"{shown} is not among the hosts that may be called. {self._hint(host)}Add {wanted} to {self._setting}."
            )

    def _hint(self, host: str) -> str:
        nearest = difflib.get_close_matches(host, [str(rule) for rule in self._allowed.rules], n=1)
        return f"Did you mean {nearest[0]}? " if nearest else ""


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL_CHARS:
        raise UrlRefusedError(f"A URL has {MAX_URL_CHARS:,} characters at most, not {len(url):,}.")
    found = _FORBIDDEN.search(url)
    if found is not None:
        raise UrlRefusedError(
            f"A URL has no blanks, control characters or backslashes; here is one at character {found.start() + 1}. "
            "Percent-encode it (a blank is %20), or pass the value in `query`."
        )
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UrlRefusedError("This is no URL that can be read; one looks like https://example.com/path.") from error
    if parts.scheme not in DEFAULT_PORTS or not parts.netloc:
        raise UrlRefusedError("A URL begins with https:// (or http://) and a host, such as https://example.com/path.")
    return parts


def _read_authority(parts: SplitResult) -> tuple[str, int]:
    if "@" in parts.netloc:
        raise UrlRefusedError("A URL has no user or password before the host; send an Authorization header instead.")
    try:
        return _parse_authority(parts.netloc, default_port=DEFAULT_PORTS[parts.scheme])
    except ValueError as error:
        raise UrlRefusedError(f"The host of the URL cannot be used: {error}.") from error


def _parse_authority(text: str, *, default_port: int) -> tuple[str, int]:
    if not text.isascii():
        raise ValueError(f"write it in ASCII{_ascii_hint(text)}")
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        raise ValueError("it is a name or an address, with a port at most (no %, no zone)")
    port = default_port if found["port"] is None else int(found["port"])
    if not 0 < port < 65536:
        raise ValueError(f"there is no port {port}")
    host = found["host"].lower()
    return (_parse_ipv6(host[1:-1]) if host.startswith("[") else _parse_name(host)), port


def _parse_ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError as error:
        raise ValueError("what stands in brackets is no IPv6 address") from error


def _parse_name(host: str) -> str:
    host = host.removesuffix(".")  # the same host, written as a full name
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("it is no host name")
    if _NUMERIC_LABEL.fullmatch(labels[-1]) is None:
        return host
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError as error:
        meant = read_odd_ipv4(host)
        hint = "" if meant is None else f", which others read as {meant}"
        raise ValueError(f"an IPv4 address has four decimal numbers without leading zeros{hint}") from error


def _ascii_hint(text: str) -> str:
    try:
        return f", as {text.encode('idna').decode()}"
    except UnicodeError:
        return " (xn--...)"


def _parse_rule(entry: str) -> HostRule:
    found = _RULE.fullmatch(entry)
    if found is None or "/" in entry:
        raise ValueError(f'"{entry}" is no host; write api.example.com, api.example.com:8443 or *.example.com')
    try:
        host, port = _parse_authority(found["authority"], default_port=443)
    except ValueError as error:
        raise ValueError(f'"{entry}" cannot be used: {error}') from error
    is_wildcard = found["wildcard"] is not None
    if is_wildcard and (_read_address(host) is not None or "." not in host):
        raise ValueError(f'"{entry}" is too wide: behind *. stands a domain such as example.com')
    has_port = not found["authority"].endswith("]") and ":" in found["authority"]
    return HostRule(host, port if has_port else None, is_wildcard)


def _read_address(host: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _names(rule: HostRule, host: str) -> bool:
    return host.endswith(f".{rule.host}") if rule.is_wildcard else host == rule.host


def _has_port(rule: HostRule, port: int) -> bool:
    return port in DEFAULT_PORTS.values() if rule.port is None else port == rule.port


def _show(host: str) -> str:
    return f"[{host}]" if ":" in host else host
