"""Writes what a run in memory was answered, and gives it its secrets. Called by `run` and `case_recording.py`."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError
from callboard.core import clock
from callboard.core.config import Settings
from callboard.core.recording import Recorder
from callboard.workbench import SECRET_PREFIX
from callboard.workflows.local_runs import LocalRun, recording_of

MIN_KEY_LENGTH = 8  # characters; a shorter "key" is a word that answers may have, too


def environment_secrets() -> dict[str, str]:
    """Return what the environment has for `${secrets.NAME}`."""
    return {
        name.removeprefix(SECRET_PREFIX): value for name, value in os.environ.items() if name.startswith(SECRET_PREFIX)
    }


def check_writable(path: Path) -> Path:
    """Return `path` if a file can be there: better known before answers are paid. Raises: CommandError."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        reason = "that is a folder" if path.is_dir() else "its folder is not there"
        raise CommandError(f"{path}: {reason}.", exit_code=ExitCode.USAGE, title="The recording cannot be written")
    return path


def write_recording(
    settings: Settings, path: Path, run: LocalRun, recorder: Recorder, *, workflow: str, defaults: Mapping[str, Any]
) -> None:
    """Write the answers of `run` as a replay file, without any secret or key in it. Raises: CommandError."""
    document = recording_of(
        run,
        recorder,
        workflow=workflow,
        defaults=defaults,
        origin=f"Recorded by Callboard at {clock.to_iso(clock.now())}; answered by {providers_of(run)}.",
        keys=_keys_of(settings),
    )
    try:
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}.", title="The recording cannot be written") from error


def providers_of(run: LocalRun) -> str:
    """Return who has answered, as words: `sandbox` among them made its answers up."""
    return ", ".join(sorted({usage.provider for _, usage in run.usage})) or "nobody"


def _keys_of(settings: Settings) -> set[str]:
    """Return every key of the settings, none of which may stand in a recording."""
    values = [getattr(settings, name) for name in type(settings).model_fields]
    keys = {value.get_secret_value() for value in values if isinstance(value, SecretStr)}
    return {key for key in keys if len(key) >= MIN_KEY_LENGTH}
