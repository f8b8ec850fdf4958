"""Takes secrets out of what an outside service sent back. Called by `steps/external_api.py`."""

from collections.abc import Collection
from urllib.parse import quote, quote_plus

from callboard.core.json_values import JsonValue

PLACEHOLDER = "[secret]"


def redact(value: JsonValue, secrets: Collection[str]) -> JsonValue:
    """Return `value` with every secret in its texts and keys replaced, as it is and as URLs write it.

    >>> redact({"sent": ["Bearer t/1"], "url": "/?key=t%2F1"}, ["t/1"])
    {'sent': ['Bearer [secret]'], 'url': '/?key=[secret]'}
    """
    forms = {form for secret in secrets if secret for form in (secret, quote(secret, safe=""), quote_plus(secret))}
    if not forms:
        return value
    return _replace(value, sorted(forms, key=len, reverse=True))  # one may be a part of another


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
