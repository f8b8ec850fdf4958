"""Write `docs/settings.md` and `.env.example` from the settings themselves, so that they cannot differ.

    python scripts/settings_docs.py           write both
    python scripts/settings_docs.py --check   exit 1 when one differs from what would be written

Run by `make check`, and by whoever changes `core/config.py`.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from callboard.core.config import Settings

ROOT = Path(__file__).resolve().parents[1]

TYPE_NAMES: dict[Any, str] = {
    str: "text",
    Path: "path",
    int: "whole number",
    float: "number",
    Decimal: "number",
    bool: "true or false",
    SecretStr: "secret text",
    tuple: "texts, separated by commas",
    dict: "JSON object",
}

SETTINGS_HEAD = """\
# Settings

<!-- Made by scripts/settings_docs.py from src/callboard/core/config.py. Change that file, then run the script. -->

`callboard settings` shows the values that hold and where each comes from. What stands higher wins:

1. environment variables
2. lines `NAME=value` in the file `.env` in the working folder
3. `settings.{environment}.ini` (development, production or test: see `ENVIRONMENT`)
4. `settings.ini`
5. the default

An empty value counts as not given. A wrong value or an unknown name in an ini file is refused at start, with its
place and what is allowed. `.env.example` lists every setting, ready to copy.

## Ini files

The ini files are looked for in the working folder, or in `CALLBOARD_CONFIG_DIR`. `deploy/` has examples.

```ini
[database]
url = ${DATABASE_URL}

[server]
port = ${PORT:-8000}
log_level = INFO
```

- Sections may have any name. A key is a setting's name in any case, or what is left of it after the section: `url` in
  `[database]` is `DATABASE_URL`.
- `${NAME}` is an environment variable, or a line of `.env`; the server does not start while it is not set.
  `${NAME:-default}` has a default for one that is not set or empty. `$${` stands for `${`.
- Keep secrets in variables, not in files.
- A comment starts with `;` or `#` and has a line of its own. `%` is a plain character. Indented lines go on with a
  value.
- Relative paths are relative to the working folder, whichever source they come from.

## All settings

| name | type | default | allowed | what it does |
|---|---|---|---|---|
"""

EXAMPLE_HEAD = """\
# Every setting of Callboard with its default. Copy this file to .env and take the # away from what you change.
# Made by scripts/settings_docs.py from src/callboard/core/config.py; docs/settings.md has the same as a table.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as the documents show it."""

    name: str
    type: str
    default: str
    allowed: str
    description: str


def read_settings() -> list[Setting]:
    """Return every setting, in the order of `Settings`."""
    return [_read(name, field) for name, field in Settings.model_fields.items()]


def settings_page(settings: Sequence[Setting]) -> str:
    """Return docs/settings.md."""
    rows = []
    for setting in settings:
        default = f"`{setting.default}`" if setting.default else "none"
        cells = (f"`{setting.name}`", setting.type, default, _cell(setting.allowed), _cell(setting.description))
        rows.append(f"| {' | '.join(cells)} |")
    return SETTINGS_HEAD + "\n".join(rows) + "\n"


def env_example(settings: Sequence[Setting]) -> str:
    """Return .env.example."""
    blocks = []
    for setting in settings:
        kind = "; ".join(part for part in (setting.type, setting.allowed) if part)
        blocks.append(f"# {setting.description} ({kind})\n#{setting.name}={setting.default}\n")
    return EXAMPLE_HEAD + "\n" + "\n".join(blocks)


def files(root: Path = ROOT) -> dict[Path, str]:
    """Return what is to stand in each file."""
    settings = read_settings()
    return {root / "docs" / "settings.md": settings_page(settings), root / ".env.example": env_example(settings)}


def stale(wanted: dict[Path, str]) -> list[Path]:
    """Return the files that are not as they should be."""
    return [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]


def main(arguments: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """Write the files, or with --check tell which differ. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Write docs/settings.md and .env.example from the settings.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file differs")
    is_check = parser.parse_args(arguments).check
    wanted = files(root)
    changed = stale(wanted)
    if is_check:
        for path in changed:
            print(f"{path.relative_to(root)} differs from core/config.py; run: python scripts/settings_docs.py")
        return 1 if changed else 0
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], "utf-8")
        print(f"wrote {path.relative_to(root)}")
    return 0


def _read(name: str, field: FieldInfo) -> Setting:
    plain = _without_none(field.annotation)
    return Setting(
        name=name.upper(),
        type=_type_name(plain),
        default=_default(field),
        allowed=", ".join(_allowed(plain, field)),
        description=" ".join((field.description or "").split()),
    )


def _without_none(annotation: Any) -> Any:
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    return kinds[0] if NoneType in get_args(annotation) and len(kinds) == 1 else annotation


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "one of"
    return TYPE_NAMES[get_origin(annotation) or annotation]  # a type that is not listed is to fail here


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or value == () or value == {} else str(value)


def _allowed(annotation: Any, field: FieldInfo) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    allowed = [text for constraint in field.metadata if (text := _constraint(constraint))]
    if isinstance(field.validation_alias, AliasChoices):
        others = [str(choice).upper() for choice in field.validation_alias.choices[1:]]
        allowed.append(f"also read as {', '.join(others)}")
    return allowed


def _constraint(constraint: Any) -> str:
    match constraint:
        case Ge(ge=value):
            return f"at least {value}"
        case Gt(gt=value):
            return f"more than {value}"
        case Le(le=value):
            return f"at most {value}"
        case Lt(lt=value):
            return f"less than {value}"
        case MinLen(min_length=value):
            return f"at least {value} characters"
        case MaxLen(max_length=value):
            return f"at most {value} characters"
    pattern = getattr(constraint, "pattern", None)
    return f"matches {pattern}" if pattern else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
