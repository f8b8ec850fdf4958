"""What the methods of `http` take, and the request that they stand for. No network here; every variant uses it.

How values are written in a query or form: text as it is, numbers as in JSON, `true` and `false`, a list as the
same name again and again, and null not at all.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self, TypeAlias
from urllib.parse import quote, urlencode, urlsplit

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    model_validator,
)

from callboard import __version__
from callboard.core.http_client import HttpRequest
from callboard.core.url_guard import DEFAULT_PORTS
from callboard.integrations.vendor_calls import CALL_TIMEOUT_SECONDS

SERVICE = "http"
MAX_TIMEOUT_SECONDS = 600.0
DEFAULT_MAX_BYTES = 1_048_576  # what a step may keep is near that: MAX_STEP_OUTPUT_BYTES
LARGEST_MAX_BYTES = 32 * 1_048_576  # the HTTP client reads no more

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# What frames the message or names the host belongs to the connection: with it one request could smuggle another.
_OWN_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

Scalar: TypeAlias = StrictStr | StrictInt | StrictFloat | StrictBool | None
Values: TypeAlias = dict[str, Scalar | list[Scalar]]


def _check_url(value: str) -> str:
    if not value.lower().startswith(("https://", "http://")):
        raise ValueError("a URL begins with https:// (or http://) and a host, such as https://example.com/path")
    return value


def _read_headers(headers: Any) -> Any:
    if not isinstance(headers, dict):
        return headers
    return {name: _read_header(str(name), value) for name, value in headers.items()}


def _read_header(name: str, value: Any) -> Any:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError("a header's name has letters, digits and hyphens")
    if name.lower() in _OWN_HEADERS or name.lower().startswith("proxy-"):
        raise ValueError(f"the header {name} is set by Callboard itself; leave it out")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and _HEADER_FORBIDDEN.search(value):
        raise ValueError(f"the value of the header {name} has a line break or another control character")
    return value


def _read_statuses(value: Any) -> Any:
    return [value] if isinstance(value, int) else value


Url: TypeAlias = Annotated[str, AfterValidator(_check_url)]
Headers: TypeAlias = Annotated[dict[str, StrictStr], BeforeValidator(_read_headers)]
Status: TypeAlias = Annotated[int, Field(ge=100, le=599)]
Statuses: TypeAlias = Annotated[list[Status], BeforeValidator(_read_statuses), Field(min_length=1)]


class HttpCall(BaseModel):
    """A request without a body. `expect_status` are the answers that are no failure; left out, all from 200 to 299."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    not_recorded: ClassVar[frozenset[str]] = frozenset({"headers", "timeout_seconds", "max_bytes", "expect_status"})

    url: Url = Field(description="With https:// or http:// and a host that HTTP_ALLOWED_HOSTS names.")
    query: Values | None = Field(None, description="Put behind the URL's own query; lists repeat the name.")
    headers: Headers | None = Field(None, description="Headers of the request.")
    timeout_seconds: float = Field(
        CALL_TIMEOUT_SECONDS, gt=0, le=MAX_TIMEOUT_SECONDS, description="Of this request; that of the step holds, too."
    )
    max_bytes: int = Field(DEFAULT_MAX_BYTES, ge=1, le=LARGEST_MAX_BYTES, description="A longer answer fails the step.")
    expect_status: Statuses | None = Field(
        None, description="The statuses that are no failure; left out, all from 200 to 299."
    )

    def expects(self, status: int) -> bool:
        """Return whether an answer with `status` is what was wanted."""
        return 200 <= status < 300 if self.expect_status is None else status in self.expect_status


class HttpBodyCall(HttpCall):
    """A request that may have one body: `json`, `form`, or `body` as text."""

    json_value: Any = Field(None, alias="json", description="The body as JSON.")
    form: Values | None = Field(None, description="The body as a form.")
    body: str | None = Field(None, description="The body as text.")

    @model_validator(mode="after")
    def _check_one_body(self) -> Self:
        given = [name for name in ("json_value", "form", "body") if name in self.model_fields_set]
        if len(given) > 1:
            raise ValueError("a request has one body: give json, form or body, not two of them")
        return self


METHODS: Mapping[str, type[BaseModel]] = {
    "get": HttpCall,
    "head": HttpCall,
    "options": HttpCall,
    "post": HttpBodyCall,
    "put": HttpBodyCall,
    "patch": HttpBodyCall,
    "delete": HttpBodyCall,
}


def to_request(method: str, call: HttpCall) -> HttpRequest:
    """Return the request that `call` stands for. Its URL is not checked yet."""
    content_type, body = _body_of(call)
    headers = {"User-Agent": f"Callboard/{__version__}", "Accept": "*/*"}
    if content_type is not None:
        headers["Content-Type"] = content_type
    own = call.headers or {}
    replaced = {name.lower() for name in own}
    return HttpRequest(
        method=method.upper(),
        url=_with_query(call.url, call.query),
        timeout_seconds=call.timeout_seconds,
        headers={name: value for name, value in headers.items() if name.lower() not in replaced} | own,
        body=body,
        max_body_bytes=call.max_bytes,
    )


def host_of(url: str) -> str:
    """Return the host of `url` as prices, rate limits and circuits know it, or "" where there is none.

    >>> host_of("https://API.example.com/x?y"), host_of("http://localhost:8080/")
    ('api.example.com', 'localhost:8080')
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        return ""
    return host if port in (None, DEFAULT_PORTS.get(parts.scheme)) else f"{host}:{port}"


def encode_values(values: Values) -> str:
    """Return `values` as a query or form writes them.

    >>> encode_values({"q": "a b&c", "tag": ["x", "y"], "page": 2, "all": True, "none": None})
    'q=a%20b%26c&tag=x&tag=y&page=2&all=true'
    """
    pairs = [
        (name, _as_text(item))
        for name, value in values.items()
        for item in (value if isinstance(value, list) else [value])
        if item is not None
    ]
    return urlencode(pairs, quote_via=quote, safe="")


def _body_of(call: HttpCall) -> tuple[str | None, bytes | None]:
    if not isinstance(call, HttpBodyCall):
        return None, None
    if "json_value" in call.model_fields_set:
        return "application/json", orjson.dumps(call.json_value)
    if call.form is not None:
        return "application/x-www-form-urlencoded", encode_values(call.form).encode()
    if call.body is not None:
        return "text/plain; charset=utf-8", call.body.encode()
    return None, None


def _with_query(url: str, query: Values | None) -> str:
    encoded = encode_values(query or {})
    if not encoded:
        return url
    address = url.partition("#")[0]
    return f"{address}{'&' if '?' in address else '?'}{encoded}"


def _as_text(value: Scalar) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
