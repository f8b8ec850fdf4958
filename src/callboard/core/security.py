"""Secrets: how API keys are made and hashed, how two secrets are compared, how one is kept in a file.

`accounts` makes and checks keys with it. API keys are long and random, so a keyed hash is enough and is
fast; slow password hashes would only cost time at every request.
"""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

API_KEY_PREFIX = "cb_"
API_KEY_BYTES = 32
PREFIX_LENGTH = len(API_KEY_PREFIX) + 8  # enough for people to tell keys apart, too little to guess one
PRIVATE_FILE_MODE = 0o600
PRIVATE_FOLDER_MODE = 0o700


def new_api_key() -> str:
    """Return a new API key: `cb_` and 32 random bytes in URL-safe text."""
    return API_KEY_PREFIX + secrets.token_urlsafe(API_KEY_BYTES)


def new_secret() -> str:
    """Return a new SECRET_KEY: 48 random bytes in URL-safe text."""
    return secrets.token_urlsafe(48)


def same_secret(given: str, expected: str) -> bool:
    """Return whether the two are equal, in a time that tells nothing about where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass"))


class KeyHasher:
    """Turns API keys into what is stored of them. Another `secret_key` gives other hashes: no key fits then."""

    def __init__(self, secret_key: str) -> None:
        self._secret = secret_key.encode()

    def hash(self, api_key: str) -> str:
        """Return the 64 hexadecimal characters that stand for `api_key` in the database."""
        return hmac.new(self._secret, api_key.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class KeptSecret:
    """The secret in a file, and whether it was made just now by this process."""

    value: str
    is_new: bool


def keep_secret(path: Path, fresh: str) -> KeptSecret:
    """Return the secret kept in `path`; where there is none yet, keep `fresh` there and return that.

    The file is readable by its owner alone from its first moment and is never seen half written. Of
    several processes that start at once one wins, and all return the same secret.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER_MODE)
    kept = _read(path)
    if kept:
        return KeptSecret(kept, is_new=False)
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE_MODE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(fresh + "\n")
        os.link(draft, path)  # fails where another process was first; a rename would overwrite its file
    except FileExistsError:
        return KeptSecret(_read(path), is_new=False)
    finally:
        draft.unlink()
    return KeptSecret(fresh, is_new=True)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
