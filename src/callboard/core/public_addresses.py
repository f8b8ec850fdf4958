"""Which IP addresses lie on the public internet, and what the others are. Called by `core/url_guard.py`.

Source: IANA's special-purpose registries for IPv4 and IPv6, which Python's `ipaddress` follows in part.
"""

import ipaddress
import socket
from enum import Enum
from typing import TypeAlias

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")  # all that was ever given out as global unicast
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # how a network without IPv4 writes a public IPv4 address
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
_IPV4_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")
_NOT_GLOBAL = (  # what `is_global` of Python 3.11 takes for public
    ipaddress.ip_network("192.88.99.0/24"),  # relays of 6to4
    ipaddress.ip_network("2001::/23"),  # protocol assignments, Teredo among them
    ipaddress.ip_network("2002::/16"),  # 6to4: an IPv4 address of anybody's choice inside
    ipaddress.ip_network("3fff::/20"),  # documentation
)
_OWN_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
_METADATA = frozenset(  # where clouds hand out the machine's own keys
    ipaddress.ip_address(text) for text in ("169.254.169.254", "100.100.100.200", "fd00:ec2::254")
)


class AddressKind(Enum):
    """What lies at an address. The value is how errors call it."""

    PUBLIC = "public"
    LOOPBACK = "this machine"
    OWN_NETWORK = "a private network"
    METADATA = "a cloud's metadata service"
    SPECIAL = "no address of a server"


# What an operator may open by naming a host. The others never lead to a server that anybody means.
LIFTABLE_KINDS = frozenset({AddressKind.LOOPBACK, AddressKind.OWN_NETWORK})


def classify_address(address: IpAddress) -> AddressKind:
    """Return what lies at `address`; one that carries an IPv4 address is judged by that.

    >>> classify_address(ipaddress.ip_address("::ffff:10.0.0.1"))
    <AddressKind.OWN_NETWORK: 'a private network'>
    """
    address = _unwrap(address)
    if address in _METADATA:
        return AddressKind.METADATA
    if address.is_loopback:
        return AddressKind.LOOPBACK
    if any(address in network for network in _OWN_NETWORKS):
        return AddressKind.OWN_NETWORK
    return AddressKind.PUBLIC if _is_public(address) else AddressKind.SPECIAL


def read_odd_ipv4(host: str) -> ipaddress.IPv4Address | None:
    """Return the address that resolvers read in `host`, in whatever spelling, or None.

    >>> [str(read_odd_ipv4(host)) for host in ("2130706433", "0x7f.1", "0177.0.0.1", "example.com")]
    ['127.0.0.1', '127.0.0.1', '127.0.0.1', 'None']
    """
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _unwrap(address: IpAddress) -> IpAddress:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.is_loopback or address.is_unspecified:
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if any(address in network for network in (_NAT64, _IPV4_TRANSLATED, _IPV4_COMPATIBLE)):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_public(address: IpAddress) -> bool:
    if address.is_multicast or not address.is_global or any(address in network for network in _NOT_GLOBAL):
        return False
    return address.version == 4 or address in _GLOBAL_IPV6
