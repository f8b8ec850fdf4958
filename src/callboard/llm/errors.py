"""How a call to a language model can fail. Raised by every provider and by `llm/client.py`.

The engine decides by type whether to try again; the client decides by `is_worth_fallback` whether the next
candidate may do better, and by `is_provider_fault` whether the failure speaks against the provider's health.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar

from callboard.core.clock import now
from callboard.core.errors import PermanentError, StepError, TemporaryError
from callboard.core.retry_after import read_retry_after

MAX_VENDOR_MESSAGE = 400  # characters; some vendors send back the whole prompt
KEY_SETTINGS = {  # the setting that a provider's key is read from
    "openrouter": "OPENROUTER_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
}
_LOOKS_LIKE_A_KEY = re.compile(r"\b(?:(?:sk|pk|key)-[A-Za-z0-9_*.\-]{8,}|Bearer\s+\S{8,})")


class LLMError(StepError):
    """A call to a language model failed."""

    code = "llm_failed"
    category = "provider"
    is_worth_fallback: ClassVar[bool] = True
    is_provider_fault: ClassVar[bool] = False


class ProviderRateLimitError(LLMError, TemporaryError):
    """The provider asks us to slow down."""

    code = "provider_rate_limited"
    is_unpaid = True


class ProviderTimeoutError(LLMError, TemporaryError):
    """The provider did not answer in time."""

    code = "provider_timeout"
    is_provider_fault = True


class ProviderServerError(LLMError, TemporaryError):
    """The provider failed by itself, or is overloaded."""

    code = "provider_server_error"
    is_provider_fault = True
    is_unpaid = True  # an answer that says no


class ProviderConnectionError(LLMError, TemporaryError):
    """The provider could not be reached, or hung up without an answer."""

    code = "provider_unreachable"
    is_provider_fault = True


class UnusableAnswerError(LLMError, TemporaryError):
    """The provider's answer cannot be read: no JSON, nothing in it, or only a part of it."""

    code = "provider_answer_unusable"
    is_provider_fault = True


class ProviderCircuitOpenError(LLMError, TemporaryError):
    """The last calls to this model failed, so it is left alone for a while."""

    code = "provider_circuit_open"
    is_unpaid = True


class ProviderAuthError(LLMError, PermanentError):
    """The provider did not accept our key. That is no sign of bad health: it answers, and at once."""

    code = "provider_auth_failed"
    is_unpaid = True


class ProviderCreditsError(ProviderAuthError):
    """The account at the provider has no credits left."""

    code = "provider_no_credits"


class ProviderBadRequestError(LLMError, PermanentError):
    """The provider refused the request as it is: a parameter, the length, the model's name."""

    code = "provider_bad_request"
    is_unpaid = True
    is_worth_fallback = False


class UnknownProviderError(LLMError, PermanentError):
    """There is no provider by that name."""

    code = "unknown_provider"
    is_unpaid = True
    is_worth_fallback = False

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        nearest = get_close_matches(name, [*names, *KEY_SETTINGS], n=1)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        super().__init__(
            f"There is no LLM provider {name!r} here.{hint} Ready are: {', '.join(names) or 'none'}.",
            details={"provider": name, "known": names},
        )


class MissingKeyError(ProviderAuthError):
    """The provider has no key here."""

    code = "provider_key_missing"

    def __init__(self, provider: str, ready: Iterable[str]) -> None:
        super().__init__(
            f"The provider {provider} has no key here: set {KEY_SETTINGS[provider]}, "
            f"or choose one that is ready: {', '.join(sorted(ready)) or 'none'}.",
            details={"provider": provider},
        )


class ReplayMissError(LLMError, PermanentError):
    """There is no recorded answer for this request. Restore the input that was recorded, set a key of a
    provider (such as OPENROUTER_API_KEY), or choose DEFAULT_LLM_PROVIDER=sandbox."""

    code = "replay_miss"
    is_unpaid = True
    is_worth_fallback = False


class SandboxSchemaError(LLMError, PermanentError):
    """The sandbox cannot make a value that fits this output_schema."""

    code = "sandbox_cannot_fit_schema"
    is_unpaid = True
    is_worth_fallback = False


_TIMEOUT_STATUSES = frozenset({408, 504})
_RATE_STATUSES = frozenset({409, 425, 429})
# OpenAI answers 429 for both "too fast" and "no money"; only its code tells them apart.
_CREDIT_CODES = frozenset({"insufficient_quota", "billing_error", "billing_not_active"})


def error_from_status(
    status: int,
    *,
    provider: str,
    model: str,
    vendor_message: str,
    vendor_code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> LLMError:
    """Return the error that a provider's HTTP status (or the status inside its answer) stands for.

    `vendor_message` is passed through `clean_vendor_message` before; `headers` are looked at for Retry-After.
    """
    kind = _kind_of(status, vendor_code)
    message = f"{provider} answered {status} for {model}: {vendor_message or 'no reason given'}"
    details: dict[str, Any] = {"provider": provider, "model": model, "http_status": status}
    if vendor_code:
        details["vendor_code"] = vendor_code
    if issubclass(kind, TemporaryError):
        return kind(message, retry_after_seconds=read_retry_after(headers or {}, now=now()), details=details)
    return kind(f"{message}{_way_out(status, provider)}", details=details)


def _way_out(status: int, provider: str) -> str:
    if status == 401 and provider in KEY_SETTINGS:
        return f" (check {KEY_SETTINGS[provider]})"
    if status == 404:
        return " (if the model was retired, name its successor in MODEL_ALIASES)"
    return " (the provider's base URL redirects: set the one it leads to)" if 300 <= status < 400 else ""


def _kind_of(status: int, vendor_code: str | None) -> type[LLMError]:
    if status == 402 or vendor_code in _CREDIT_CODES:
        return ProviderCreditsError
    if status in (401, 403):
        return ProviderAuthError
    if status in _TIMEOUT_STATUSES:
        return ProviderTimeoutError
    if status in _RATE_STATUSES:
        return ProviderRateLimitError
    return ProviderServerError if status >= 500 else ProviderBadRequestError


def clean_vendor_message(text: str, *, secret: str | None = None) -> str:
    """Return a vendor's message on one line, without the key, at most `MAX_VENDOR_MESSAGE` characters.

    >>> clean_vendor_message("Incorrect API key provided: sk-abcd****wxyz.\\n Look it up.")
    'Incorrect API key provided: [key] Look it up.'
    """
    if secret:
        text = text.replace(secret, "[key]")
    text = _LOOKS_LIKE_A_KEY.sub("[key]", text[: MAX_VENDOR_MESSAGE * 4])
    text = " ".join(text.replace("\x00", " ").encode("utf-8", "replace").decode().split())
    return text if len(text) <= MAX_VENDOR_MESSAGE else text[:MAX_VENDOR_MESSAGE] + "..."
