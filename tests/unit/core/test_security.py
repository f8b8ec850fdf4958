"""Secrets: made, hashed, kept in files."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from callboard.core.security import KeyHasher, keep_secret, new_api_key, new_secret, same_secret


class TestNewApiKey:
    def test_is_long_and_never_the_same(self) -> None:
        keys = {new_api_key() for _ in range(100)}

        assert len(keys) == 100
        assert {(key[:3], len(key)) for key in keys} == {("cb_", 46)}


class TestSameSecret:
    @pytest.mark.parametrize(
        ("given", "expected", "same"),
        [
            ("abc", "abc", True),
            ("abc", "abd", False),
            ("abc", "abcd", False),
            ("\u00e4", "\u00e4", True),
            ("\ud800", "", False),
        ],
    )
    def test_compares_any_text(self, given: str, expected: str, same: bool) -> None:
        assert same_secret(given, expected) is same


class TestKeyHasher:
    def test_depends_on_the_secret(self) -> None:
        key = new_api_key()

        assert KeyHasher("one").hash(key) == KeyHasher("one").hash(key) != KeyHasher("two").hash(key)

    def test_is_hexadecimal_of_fixed_length(self) -> None:
        assert len(bytes.fromhex(KeyHasher("one").hash("cb_x"))) == 32


class TestKeepSecret:
    def test_makes_a_file_that_its_owner_alone_reads(self, tmp_path: Path) -> None:
        path = tmp_path / "home" / "api_key"
        mask = os.umask(0)

        kept = keep_secret(path, "fresh")

        os.umask(mask)
        assert (kept.value, kept.is_new) == ("fresh", True)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def test_returns_the_kept_one_from_then_on(self, tmp_path: Path) -> None:
        keep_secret(tmp_path / "api_key", "first")

        kept = keep_secret(tmp_path / "api_key", "second")

        assert (kept.value, kept.is_new) == ("first", False)

    def test_leaves_nothing_else_behind(self, tmp_path: Path) -> None:
        keep_secret(tmp_path / "api_key", "first")

        assert [path.name for path in tmp_path.iterdir()] == ["api_key"]

    def test_agrees_when_many_start_at_once(self, tmp_path: Path) -> None:
        def start(_: int) -> tuple[str, bool]:
            kept = keep_secret(tmp_path / "api_key", new_secret())
            return kept.value, kept.is_new

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(start, range(50)))

        assert len({value for value, _ in results}) == 1
        assert sum(is_new for _, is_new in results) == 1
