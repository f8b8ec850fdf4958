"""Ini files: their form, `${NAME}`, and mistakes told by file and line without the text."""

from pathlib import Path

import pytest

from callboard.core.ini_files import IniEntry, IniFileError, expand, read_ini_file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.ini"


def entry(text: str) -> IniEntry:
    return IniEntry(file=Path("settings.ini"), line=4, section="llm", key="openai_api_key", text=text)


class TestReadIniFile:
    def test_gives_every_entry_with_its_place(self, file: Path) -> None:
        file.write_text("; a comment\n[App]\nNAME = Callboard\n\n[log]\n# another\nlevel: DEBUG\n")

        entries = read_ini_file(file)

        assert [(e.section, e.key, e.text, e.line) for e in entries] == [
            ("App", "NAME", "Callboard", 3),
            ("log", "level", "DEBUG", 7),
        ]
        assert entries[1].place == f"{file}, line 7, [log] level"

    def test_is_empty_without_a_file(self, file: Path) -> None:
        assert read_ini_file(file) == []

    @pytest.mark.parametrize(
        ("written", "text"),
        [
            pytest.param("100%(sure)s %%", "100%(sure)s %%", id="percent is a plain character"),
            pytest.param("p#ss ; word", "p#ss ; word", id="no comment behind a value"),
            pytest.param('"quoted = text "', "quoted = text ", id="a pair of quotes is taken off"),
            pytest.param('"', '"', id="one quote stays"),
            pytest.param('{\n  "a": 1\n  }', '{\n"a": 1\n}', id="indented lines go on"),
            pytest.param("", "", id="empty"),
        ],
    )
    def test_reads_a_value_as_it_stands(self, file: Path, written: str, text: str) -> None:
        file.write_text(f"[x]\nkey = {written}\n")

        [read] = read_ini_file(file)

        assert read.text == text

    def test_takes_default_for_a_section_like_any_other(self, file: Path) -> None:
        file.write_text("[DEFAULT]\nport = 1\n[app]\nname = x\n")

        assert [(e.section, e.key) for e in read_ini_file(file)] == [("DEFAULT", "port"), ("app", "name")]

    def test_takes_a_byte_order_mark(self, file: Path) -> None:
        file.write_bytes(b"\xef\xbb\xbf[app]\nname = x\n")

        assert [e.key for e in read_ini_file(file)] == ["name"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            pytest.param("port = s3cret\n", "line 1: a [section] comes first", id="no section"),
            pytest.param("[a]\ns3cret\n[b]\ns3cret2\n", "line 2: is neither", id="no equals sign"),
            pytest.param("[a]\nx = s3cret\nx = 2\n", "line 3: [a] has x already", id="key twice"),
            pytest.param("[a]\nx = s3cret\n[a]\n", "line 3: there is a section [a] already", id="section twice"),
        ],
    )
    def test_tells_a_mistake_by_its_line_and_shows_no_value(self, file: Path, text: str, said: str) -> None:
        file.write_text(text)

        with pytest.raises(IniFileError) as caught:
            read_ini_file(file)

        assert f"{file}, {said}" in str(caught.value)
        assert "s3cret" not in str(caught.value)

    def test_tells_every_line_that_cannot_be_read(self, file: Path) -> None:
        file.write_text("[a]\nfirst\nsecond\n")

        with pytest.raises(IniFileError) as caught:
            read_ini_file(file)

        assert [line.partition(": ")[0] for line in str(caught.value).splitlines()] == [
            f"{file}, line 2",
            f"{file}, line 3",
        ]

    def test_refuses_what_is_no_utf8(self, file: Path) -> None:
        file.write_bytes(b"[a]\nx = \xff\n")

        with pytest.raises(IniFileError, match="not UTF-8"):
            read_ini_file(file)

    def test_refuses_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(IniFileError, match="cannot be read: Is a directory"):
            read_ini_file(tmp_path)


class TestExpand:
    @pytest.mark.parametrize(
        ("text", "expanded"),
        [
            pytest.param("${KEY}", "k1", id="a variable"),
            pytest.param("a ${KEY} b ${KEY}", "a k1 b k1", id="inside text, twice"),
            pytest.param("${NONE:-fallback}", "fallback", id="a default"),
            pytest.param("${EMPTY:-fallback}", "fallback", id="a default for an empty one"),
            pytest.param("${KEY:-fallback}", "k1", id="a default that is not needed"),
            pytest.param("${NONE:-}", "", id="an empty default"),
            pytest.param("${NONE:redis://localhost:6379}", "redis://localhost:6379", id="a default after a colon"),
            pytest.param("${NONE:-a:-b}", "a:-b", id="a default with the sign in it"),
            pytest.param("${EMPTY}", "", id="an empty one"),
            pytest.param("${NESTED}", "${KEY}", id="never looked at twice"),
            pytest.param("$${KEY}", "${KEY}", id="the characters themselves"),
            pytest.param("$5 {x} $", "$5 {x} $", id="other dollars and braces"),
        ],
    )
    def test_puts_variables_in(self, text: str, expanded: str) -> None:
        variables = {"KEY": "k1", "EMPTY": "", "NESTED": "${KEY}"}

        assert expand(entry(text), variables) == expanded

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            pytest.param("${NONE}", "the environment variable NONE is not set. Set it, or write ${NONE:-}", id="unset"),
            pytest.param("${KEY-x}", "after ${ comes the name", id="no name"),
            pytest.param("${}", "after ${ comes the name", id="nothing"),
            pytest.param("${KEY", "after ${ comes the name", id="not closed"),
            pytest.param("${KEY:-{}}", "none of them holds a brace", id="a brace in the default"),
        ],
    )
    def test_tells_what_is_wrong_by_file_section_and_key(self, text: str, said: str) -> None:
        with pytest.raises(IniFileError) as caught:
            expand(entry(text), {"KEY": "k1"})

        assert str(caught.value).startswith("settings.ini, line 4, [llm] openai_api_key: ")
        assert said in str(caught.value)
