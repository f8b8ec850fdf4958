"""Where settings come from: which variable or line of which file gave each.

`core/config.py` names it beside a wrong value, `callboard settings` beside every value.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import AliasChoices
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource

from callboard.core.ini_settings import IniSettingsSource


def find_origins(settings: type[BaseSettings], overrides: Mapping[str, Any]) -> dict[str, str]:
    """Return where each setting that somebody gave comes from, in words; the others have their default.

    Raises: IniFileError.
    """
    dotenv = DotEnvSettingsSource(settings)
    in_environment, in_dotenv = EnvSettingsSource(settings)(), dotenv()
    entries = IniSettingsSource(settings, dotenv).find_entries({**in_dotenv, **in_environment, **overrides})
    origins = {name: entry.place for name, entry in entries.items()}
    for given, words in ((in_dotenv, ".env"), (in_environment, "the environment"), (overrides, "this command")):
        origins |= {name_of(settings, known_as): words for known_as in given}
    return {name: origin for name, origin in origins.items() if name in settings.model_fields}


def settings_files(settings: type[BaseSettings]) -> list[Path]:
    """Return the settings files that are looked for, the one that wins first. Raises: IniFileError."""
    dotenv = DotEnvSettingsSource(settings)
    given = {**dotenv(), **EnvSettingsSource(settings)()}
    return list(IniSettingsSource(settings, dotenv).paths(given))


def name_of(settings: type[BaseSettings], known_as: str) -> str:
    """Return the setting that is also read by the name `known_as`."""
    for name, field in settings.model_fields.items():
        if isinstance(field.validation_alias, AliasChoices) and known_as in field.validation_alias.choices:
            return name
    return known_as
