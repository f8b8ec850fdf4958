"""How a provider's refusal becomes an error: its class, its message, and how long to wait."""

from datetime import UTC, datetime

import pytest

from callboard.core.errors import PermanentError, TemporaryError
from callboard.llm.errors import (
    LLMError,
    MissingKeyError,
    ProviderAuthError,
    ProviderBadRequestError,
    ProviderCreditsError,
    ProviderRateLimitError,
    ProviderServerError,
    ProviderTimeoutError,
    UnknownProviderError,
    clean_vendor_message,
    error_from_status,
)

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def _error(status: int, *, code: str | None = None, provider: str = "openai") -> LLMError:
    return error_from_status(status, provider=provider, model="m", vendor_message="No.", vendor_code=code)


class TestErrorFromStatus:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, ProviderBadRequestError),
            (401, ProviderAuthError),
            (402, ProviderCreditsError),
            (403, ProviderAuthError),
            (404, ProviderBadRequestError),
            (408, ProviderTimeoutError),
            (409, ProviderRateLimitError),
            (413, ProviderBadRequestError),
            (422, ProviderBadRequestError),
            (425, ProviderRateLimitError),
            (429, ProviderRateLimitError),
            (500, ProviderServerError),
            (502, ProviderServerError),
            (503, ProviderServerError),
            (504, ProviderTimeoutError),
            (529, ProviderServerError),
            (302, ProviderBadRequestError),
        ],
    )
    def test_maps_the_status_to_a_class(self, status: int, kind: type[LLMError]) -> None:
        assert type(_error(status)) is kind

    def test_a_used_up_quota_is_no_rate_limit(self) -> None:
        assert isinstance(_error(429, code="insufficient_quota"), ProviderCreditsError)

    @pytest.mark.parametrize(("status", "kind"), [(429, TemporaryError), (503, TemporaryError), (401, PermanentError)])
    def test_says_by_type_whether_trying_again_helps(self, status: int, kind: type[Exception]) -> None:
        assert isinstance(_error(status), kind)

    @pytest.mark.parametrize(
        ("status", "words"),
        [(401, "check OPENAI_API_KEY"), (404, "MODEL_ALIASES"), (302, "base URL")],
    )
    def test_names_the_way_out(self, status: int, words: str) -> None:
        assert words in _error(status).message

    def test_keeps_the_facts_as_details(self) -> None:
        error = _error(429, code="rate_limit_exceeded")

        assert error.details == {
            "provider": "openai",
            "model": "m",
            "http_status": 429,
            "vendor_code": "rate_limit_exceeded",
        }
        assert error.category == "provider"


class TestCleanVendorMessage:
    @pytest.mark.parametrize(
        "text",
        [
            "Incorrect API key provided: my-very-own-secret.",
            "bad header Bearer my-very-own-secret",
            "my-very-own-secret " * 50,
            "x" * 399 + "my-very-own-secret",
        ],
        ids=["plain", "header", "many", "at the cut"],
    )
    def test_never_has_the_key_in_it(self, text: str) -> None:
        assert "secret" not in clean_vendor_message(text, secret="my-very-own-secret")

    def test_hides_what_looks_like_another_key(self) -> None:
        assert clean_vendor_message("used sk-or-v1-abcdef0123456789") == "used [key]"

    def test_is_one_short_line_of_text_that_can_be_stored(self) -> None:
        cleaned = clean_vendor_message("a\n\tb\x00 \ud800 " + "y" * 1000)

        assert cleaned.startswith("a b ? yyy")
        assert len(cleaned) <= 403

    def test_leaves_ordinary_words_alone(self) -> None:
        assert clean_vendor_message("Invalid API key provided here") == "Invalid API key provided here"


class TestUnknownProviderError:
    def test_names_the_nearest_and_what_is_ready(self) -> None:
        error = UnknownProviderError("openruter", ["sandbox", "openrouter"])

        assert "Did you mean openrouter?" in error.message
        assert "Ready are: openrouter, sandbox." in error.message


class TestMissingKeyError:
    def test_names_the_setting(self) -> None:
        assert "set ANTHROPIC_API_KEY" in MissingKeyError("anthropic", ["sandbox"]).message
