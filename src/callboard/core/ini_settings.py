"""`settings.ini` and `settings.{environment}.ini` as one source of settings, below the environment and `.env`.

`core/config.py` puts it into `Settings`. A file may name its sections as it likes. A key is the name of a
setting in any case, or what is left of it after the section: `[database] url` is DATABASE_URL.
"""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource

from callboard.core.ini_files import IniEntry, IniFileError, expand, read_ini_file

FOLDER_SETTING = "callboard_config_dir"
ENVIRONMENT_SETTING = "environment"
# Names of the format's first users that nothing reads yet. A file that has them is no mistake.
NAMES_OF_LATER_SETTINGS = frozenset({"llm_webhook_secret"})


class IniSettingsSource(PydanticBaseSettingsSource):
    """The settings that stand in ini files and in no source before them.

    Only what is used is expanded, so a variable that only an overridden entry names need not be set.
    Raises (when called): IniFileError, with every mistake of both files.
    """

    def __init__(self, settings_cls: type[BaseSettings], dotenv: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._names = _names_of(settings_cls.model_fields)
        self._dotenv = dotenv

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        errors = []
        for name, entry in self.find_entries(self.current_state).items():
            try:
                values[name] = expand(entry, self._variables())
            except IniFileError as error:
                errors.append(str(error))
        if errors:
            raise IniFileError("\n".join(errors))
        return values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of one setting, in the form that the library asks for."""
        return self().get(field_name), field_name, self.field_is_complex(field)

    def find_entries(self, given: Mapping[str, Any]) -> dict[str, IniEntry]:
        """Return the entry of each setting that `given` has not, the environment's own file first.

        An empty text counts as not given. Raises: IniFileError.
        """
        taken = {self._names.get(name.lower(), name) for name in given}
        found: dict[str, IniEntry] = {}
        errors: list[str] = []
        for path in self.paths(given):
            for name, entry in self._read(path, errors).items():
                if name not in taken and not self._is_empty(entry):
                    found.setdefault(name, entry)
        if errors:
            raise IniFileError("\n".join(errors))
        return found

    def paths(self, given: Mapping[str, Any]) -> Sequence[Path]:
        """Return the files that are looked for, the one that wins first. Raises: IniFileError."""
        folder = Path(given.get(FOLDER_SETTING) or ".")
        if not folder.is_dir():
            raise IniFileError(f"{FOLDER_SETTING.upper()}: there is no folder {folder}.")
        common = folder / "settings.ini"
        environment = given.get(ENVIRONMENT_SETTING) or self._environment_in(common)
        if environment not in get_args(self.settings_cls.model_fields[ENVIRONMENT_SETTING].annotation):
            return [common]  # it is refused when the settings are checked, and is no part of a path before
        return [folder / f"settings.{environment}.ini", common]

    def _environment_in(self, common: Path) -> str:
        for entry in read_ini_file(common):
            if entry.key.lower() == ENVIRONMENT_SETTING and not self._is_empty(entry):
                return expand(entry, self._variables())
        return str(self.settings_cls.model_fields[ENVIRONMENT_SETTING].default)

    def _read(self, path: Path, errors: list[str]) -> dict[str, IniEntry]:
        """Return the entries of a file by the setting that each means; what is wrong goes into `errors`."""
        found: dict[str, IniEntry] = {}
        for entry in read_ini_file(path):
            name = self._setting_of(entry)
            problem = self._problem_with(entry, name, found)
            if problem:
                errors.append(f"{entry.place}: {problem}")
            elif name is not None:
                found[name] = entry
        return found

    def _setting_of(self, entry: IniEntry) -> str | None:
        section, key = _word(entry.section), _word(entry.key)
        return self._names.get(f"{section}_{key}") or self._names.get(key)

    def _problem_with(self, entry: IniEntry, name: str | None, earlier: Mapping[str, IniEntry]) -> str | None:
        if name is None:
            return None if _word(entry.key) in NAMES_OF_LATER_SETTINGS else self._unknown(entry)
        if name == FOLDER_SETTING:
            return f"{name.upper()} says where this file is, so it cannot stand in it. Set it in the environment."
        if name in earlier:
            return f"{name.upper()} is set in line {earlier[name].line} already."
        if name in {"host", "port"} and self._has_url(_word(entry.section)):
            section = _word(entry.section)
            return f"{name.upper()} is where Callboard itself listens. Where {section} is, its URL says: `url = ...`."
        return None

    def _has_url(self, section: str) -> bool:
        return f"{section}_url" in self._names or f"{section}_base_url" in self._names

    def _unknown(self, entry: IniEntry) -> str:
        section, key = _word(entry.section), _word(entry.key)
        written = (key, f"{section}_{key}")
        near = {known: word for word in written for known in difflib.get_close_matches(word, self._names, n=1)}
        nearest = max(near, key=lambda known: _likeness(known, near[known]), default=None)
        advice = f"Did you mean {nearest.upper()}?" if nearest else "`callboard settings` lists all."
        return f"there is no setting of that name. {advice}"

    def _is_empty(self, entry: IniEntry) -> bool:
        """Tell whether the entry gives nothing. One that cannot be expanded is left to whoever uses it."""
        try:
            return not expand(entry, self._variables()).strip()
        except IniFileError:
            return False

    def _variables(self) -> Mapping[str, str]:
        """Return what `${NAME}` may stand for: the lines of `.env`, and the environment, which wins."""
        lines = self._dotenv.env_vars if isinstance(self._dotenv, DotEnvSettingsSource) else {}
        given = {name: value for name, value in lines.items() if value is not None}  # names in small letters
        return {**given, **{name.upper(): value for name, value in given.items()}, **os.environ}


def _names_of(fields: Mapping[str, FieldInfo]) -> dict[str, str]:
    """Return the setting that each name means, all in small letters: names and the aliases that are read too."""
    return {known: name for name, field in fields.items() for known in _known_as(name, field)}


def _known_as(name: str, field: FieldInfo) -> Iterator[str]:
    yield name
    if isinstance(field.validation_alias, AliasChoices):
        yield from (str(choice).lower() for choice in field.validation_alias.choices)


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _word(text: str) -> str:
    """Return a section or key as a part of a setting's name.

    >>> _word("Google Places"), _word("base-url")
    ('google_places', 'base_url')
    """
    return text.strip().lower().replace(" ", "_").replace("-", "_")
