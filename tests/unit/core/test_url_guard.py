"""Which URLs may be called, and whether an error says what to do."""

import ipaddress

import pytest

from callboard.core.url_guard import AllowedHosts, UrlGuard, UrlRefusedError
from tests.fixtures.hostile_urls import HOSTILE_URLS

SETTING = "HTTP_ALLOWED_HOSTS"


def guard(*allowed: str, only_allowed: bool = True) -> UrlGuard:
    return UrlGuard(AllowedHosts.parse(allowed), setting=SETTING, only_allowed=only_allowed)


def refusal(guard: UrlGuard, url: str) -> str:
    with pytest.raises(UrlRefusedError) as caught:
        guard.check(url)
    return caught.value.message


class TestAllowedHosts:
    @pytest.mark.parametrize(
        ("entry", "shown"),
        [
            ("api.example.com", "api.example.com"),
            (" API.Example.com. ", "api.example.com"),
            ("api.example.com:8443", "api.example.com:8443"),
            ("api.example.com:443", "api.example.com:443"),
            ("*.example.com", "*.example.com"),
            ("localhost:8080", "localhost:8080"),
            ("10.0.0.5", "10.0.0.5"),
            ("[::1]:8080", "[::1]:8080"),
            ("[0:0::1]", "[::1]"),
            ("my_service:9000", "my_service:9000"),
        ],
    )
    def test_reads_an_entry(self, entry: str, shown: str) -> None:
        assert str(AllowedHosts.parse([entry])) == shown

    @pytest.mark.parametrize(
        ("entry", "reason"),
        [
            ("https://api.example.com", "is no host; write api.example.com"),
            ("api.example.com/path", "is no host"),
            ("*", "is no host"),
            ("a.*.example.com", "is no host"),
            ("", "is no host"),
            ("*.com", "too wide"),
            ("*.10.0.0.1", "too wide"),
            ("api.example.com:99999", "there is no port 99999"),
            ("127.1", "others read as 127.0.0.1"),
            ("münchen.example", "as xn--mnchen-3ya.example"),
            ("user@example.com", "cannot be used"),
            ("::1", "cannot be used"),
        ],
    )
    def test_says_what_is_wrong_with_an_entry(self, entry: str, reason: str) -> None:
        with pytest.raises(ValueError, match=reason):
            AllowedHosts.parse([entry])

    def test_is_false_where_nothing_is_allowed(self) -> None:
        assert not AllowedHosts()
        assert AllowedHosts.parse(["a.example"])


class TestCheck:
    @pytest.mark.parametrize("only_allowed", [True, False], ids=["only allowed hosts", "any public host"])
    @pytest.mark.parametrize("url", HOSTILE_URLS)
    def test_refuses_what_leads_inside(self, url: str, only_allowed: bool) -> None:
        strict = guard("api.example.com", "*.example.org", only_allowed=only_allowed)

        assert refusal(strict, url.format(port=8080))

    def test_has_a_table_that_is_worth_the_name(self) -> None:
        assert len(set(HOSTILE_URLS)) == len(HOSTILE_URLS) >= 60

    @pytest.mark.parametrize(
        ("url", "sent"),
        [
            ("https://api.example.com", "https://api.example.com/"),
            ("HTTPS://API.example.com.:443/a?b=c#d", "https://api.example.com/a?b=c"),
            ("http://api.example.com/", "http://api.example.com/"),
            ("http://localhost:8080/x", "http://localhost:8080/x"),
            ("https://shop.example.org/", "https://shop.example.org/"),
            ("https://a.b.example.org/", "https://a.b.example.org/"),
            ("http://10.0.0.5/", "http://10.0.0.5/"),
            ("http://[0:0::1]:81/", "http://[::1]:81/"),
        ],
    )
    def test_accepts_what_is_allowed_in_one_spelling(self, url: str, sent: str) -> None:
        rules = ("api.example.com", "localhost:8080", "*.example.org", "10.0.0.5", "[::1]:81")

        assert guard(*rules).check(url).url == sent

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            (
                "https://api.example.net/",
                (
                    "api.example.net is not among the hosts that may be called. Did you mean api.example.com? "
                    "Add api.example.net to HTTP_ALLOWED_HOSTS."
                ),
            ),
            (
                "https://other.test:8080/",
                "other.test is not among the hosts that may be called. Add other.test:8080 to HTTP_ALLOWED_HOSTS.",
            ),
            (
                "https://api.example.com:8080/",
                "api.example.com may not be called on port 8080. Add api.example.com:8080 to HTTP_ALLOWED_HOSTS.",
            ),
            (
                "http://shop.example.org/",
                (
                    "http://shop.example.org is not encrypted. Call it by https://, or add shop.example.org itself to "
                    "HTTP_ALLOWED_HOSTS."
                ),
            ),
            ("https://api.example.com/a b", "here is one at character 26. Percent-encode it"),
            ("https://api.example.com/\n", "control characters"),
            ("api.example.com/path", "A URL begins with https://"),
            ("https://user:pass@api.example.com/", "send an Authorization header instead"),
            ("https://münchen.example/", "write it in ASCII, as xn--mnchen-3ya.example"),
            ("http://127.1/", "four decimal numbers without leading zeros, which others read as 127.0.0.1"),
            ("https://[::1]x/", "The host of the URL cannot be used"),
            ("https://api.example.com:0/", "there is no port 0"),
            ("https://api.example.com/" + "x" * 8200, "8,192 characters at most, not 8,224"),
        ],
    )
    def test_says_what_to_do(self, url: str, message: str) -> None:
        assert message in refusal(guard("api.example.com", "*.example.org"), url)

    def test_names_the_rule_that_lifts_a_private_address(self) -> None:
        message = refusal(guard(only_allowed=False), "https://10.0.0.5/")

        assert message == (
            "10.0.0.5 leads to a private network, not to the public internet. Add 10.0.0.5 to HTTP_ALLOWED_HOSTS to "
            "allow that."
        )

    @pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "0.0.0.0", "224.0.0.1", "[fe80::1]"])
    def test_lets_no_rule_lift_what_no_server_lives_at(self, host: str) -> None:
        assert "It cannot be called." in refusal(guard(host), f"http://{host}/")

    def test_takes_any_public_host_where_it_is_not_bound_to_a_list(self) -> None:
        assert guard(only_allowed=False).check("https://hooks.example.com:8443/x").url == (
            "https://hooks.example.com:8443/x"
        )

    @pytest.mark.parametrize("url", ["http://hooks.example.com/", "https://hooks.example.com:22/"])
    def test_wants_https_and_a_usual_port_of_a_public_host(self, url: str) -> None:
        assert SETTING in refusal(guard(only_allowed=False), url)

    def test_never_shows_more_of_a_url_than_its_host(self) -> None:
        url = "https://other.test/s3cret-path?key=s3cret"

        assert "s3cret" not in refusal(guard("api.example.com"), url)


class TestCheckAddresses:
    def test_accepts_public_ones(self) -> None:
        guard("*.example.org").check_addresses("a.example.org", 443, [ipaddress.ip_address("93.184.216.34")])

    def test_refuses_a_name_with_a_public_and_a_private_one(self) -> None:
        both = [ipaddress.ip_address(address) for address in ("93.184.216.34", "10.0.0.1")]

        with pytest.raises(UrlRefusedError, match=r"a\.example\.org leads to a private network"):
            guard("*.example.org").check_addresses("a.example.org", 443, both)

    def test_accepts_private_ones_of_a_host_that_is_named(self) -> None:
        guard("a.example.org").check_addresses("a.example.org", 443, [ipaddress.ip_address("10.0.0.1")])

    def test_refuses_them_on_another_port_than_the_named_one(self) -> None:
        with pytest.raises(UrlRefusedError, match=r"Add a\.example\.org to HTTP_ALLOWED_HOSTS"):
            guard("a.example.org:8080").check_addresses("a.example.org", 80, [ipaddress.ip_address("10.0.0.1")])

    def test_refuses_metadata_of_a_host_that_is_named(self) -> None:
        with pytest.raises(UrlRefusedError, match="metadata service"):
            guard("a.example.org").check_addresses("a.example.org", 80, [ipaddress.ip_address("169.254.169.254")])
