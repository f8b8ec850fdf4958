"""What lies at an IP address."""

import ipaddress

import pytest

from callboard.core.public_addresses import AddressKind, classify_address

KINDS = {
    AddressKind.PUBLIC: [
        "8.8.8.8",
        "93.184.216.34",
        "172.32.0.1",  # just beyond 172.16.0.0/12
        "100.128.0.1",  # just beyond 100.64.0.0/10
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
        "64:ff9b::808:808",  # NAT64 of 8.8.8.8
        "::ffff:8.8.8.8",
    ],
    AddressKind.LOOPBACK: ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "::127.0.0.1"],
    AddressKind.OWN_NETWORK: [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "fc00::1",
        "fd12:3456::1",
        "::ffff:10.1.2.3",
        "::ffff:0:192.168.0.1",  # translated (SIIT)
    ],
    AddressKind.METADATA: ["169.254.169.254", "::ffff:169.254.169.254", "100.100.100.200", "fd00:ec2::254"],
    AddressKind.SPECIAL: [
        "0.0.0.0",
        "0.1.2.3",
        "169.254.1.1",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "fe80::1",
        "fec0::1",  # site-local, given up long ago
        "ff02::1",
        "ff0e::1",  # multicast of global scope
        "2001::1",  # Teredo
        "2001:db8::1",
        "2002:7f00:1::",  # 6to4 of 127.0.0.1
        "2002:808:808::",  # 6to4 of 8.8.8.8: nobody runs that any more
        "3fff::1",
        "64:ff9b:1::1",  # NAT64 of somebody's own
        "100::1",  # discard
        "4000::1",
        "5f00::1",
    ],
}


class TestClassifyAddress:
    @pytest.mark.parametrize(
        ("address", "kind"), [(address, kind) for kind, addresses in KINDS.items() for address in addresses]
    )
    def test_tells_what_lies_there(self, address: str, kind: AddressKind) -> None:
        assert classify_address(ipaddress.ip_address(address)) is kind

    def test_takes_no_address_with_a_zone_for_public(self) -> None:
        assert classify_address(ipaddress.ip_address("fe80::1%eth0")) is AddressKind.SPECIAL
