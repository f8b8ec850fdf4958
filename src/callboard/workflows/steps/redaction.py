"""Takes secrets out of what an outside service sent back. Called by `steps/external_api.py`."""

from collections.abc import Callable, Collection
from urllib.parse import quote, quote_plus

from callboard.core.errors import StepError
from callboard.core.json_values import JsonValue

PLACEHOLDER = "[secret]"


def redact(value: JsonValue, secrets: Collection[str]) -> JsonValue:
    """Return `value` with every secret in its texts and keys replaced, as it is and as URLs write it.

    >>> redact({"sent": ["Bearer t/1+"], "url": "/?key=t%2F1%2B", "query": "key=t/1%2B"}, ["t/1+"])
    {'sent': ['Bearer [secret]'], 'url': '/?key=[secret]', 'query': 'key=[secret]'}
    """
    forms = {form for secret in secrets if secret for form in _forms_of(secret)}
    if not forms:
        return value
    return _replace(value, sorted(forms, key=len, reverse=True))  # one may be a part of another


def _forms_of(secret: str) -> tuple[str, ...]:
    # in a query some servers and libraries write these characters as they are, others write all as %XX
    return secret, quote(secret, safe=""), quote_plus(secret), quote(secret, safe="/:?@!$'()*,;")


def _replace(value: JsonValue, forms: list[str]) -> JsonValue:
    if isinstance(value, str):
        for form in forms:
            value = value.replace(form, PLACEHOLDER)
        return value
    if isinstance(value, dict):
        return {_replace(key, forms): _replace(child, forms) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_replace(item, forms) for item in value]
    return value


class UsedSecrets:
    """The secrets that one call was given: nothing that comes back from it may show them."""

    def __init__(self, resolve: Callable[[str], str]) -> None:
        self._resolve = resolve
        self.values: set[str] = set()

    def resolve(self, name: str) -> str:
        """Return the secret `name`, and remember it. Raises: what the resolver raises."""
        value = self._resolve(name)
        self.values.add(value)
        return value

    def without(self, error: StepError) -> StepError:
        """Return `error` with no secret in its message, its details or its causes."""
        if self.values:
            error.message = redact(error.message, self.values)
            error.args = (error.message,)
            error.details = redact(error.details, self.values)
            error.__cause__ = error.__context__ = None
        return error
