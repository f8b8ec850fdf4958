"""compose.yaml: as far as it can be checked without a container engine. `make up-local` runs what it says."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from callboard.core.config import Settings, load_settings
from scripts.local_stack import KEPT_RUNNING, RUN_FIRST, LocalStackError, _filled

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service.get("image") == "callboard"]
GIVEN = {
    "POSTGRES_PASSWORD": "secret",
    "ADMIN_API_KEY": "admin-key-of-the-operator",
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "FLOWER_BASIC_AUTH": "admin:secret",
}


class TestOurServices:
    def test_are_those_that_run_without_containers(self) -> None:
        assert set(OURS) == {*RUN_FIRST, *KEPT_RUNNING}

    @pytest.mark.parametrize("name", OURS)
    def test_are_given_settings_that_there_are(self, name: str) -> None:
        environment = {key: _filled(str(value), GIVEN) for key, value in SERVICES[name]["environment"].items()}

        assert {key.lower() for key in environment} <= Settings.model_fields.keys()
        settings = load_settings(_env_file=None, **{key.lower(): value for key, value in environment.items()})
        assert (settings.environment, settings.queue_backend) == ("production", "celery")

    @pytest.mark.parametrize("name", OURS)
    def test_run_programs_that_there_are(self, name: str) -> None:
        program = SERVICES[name]["command"].split()[0]

        assert shutil.which(program, path=str(Path(sys.executable).parent))

    @pytest.mark.parametrize("name", OURS)
    def test_are_stopped_no_sooner_than_their_calls_may_take(self, name: str) -> None:
        grace_seconds = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))

        assert grace_seconds > int(SERVICES[name]["environment"]["SHUTDOWN_GRACE_SECONDS"])

    @pytest.mark.parametrize("name", KEPT_RUNNING)
    def test_wait_for_the_tables(self, name: str) -> None:
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


class TestServers:
    @pytest.mark.parametrize("name", sorted(SERVICES.keys() - set(OURS)))
    def test_keep_their_data_and_say_when_they_are_ready(self, name: str) -> None:
        server = SERVICES[name]

        assert "healthcheck" in server
        volumes = {volume.partition(":")[0] for volume in server["volumes"]}
        assert volumes <= COMPOSE["volumes"].keys()

    def test_rabbitmq_is_there_when_asked_for_alone(self) -> None:
        assert SERVICES["rabbitmq"]["profiles"] == ["rabbitmq"]


class TestFilled:
    @pytest.mark.parametrize(
        ("text", "filled"),
        [
            ("${ADMIN_API_KEY:?set it}", "admin-key-of-the-operator"),
            ("${WORKERS:-4}x", "4x"),
            ("${NOTHING}", ""),
        ],
        ids=["given", "a default", "neither"],
    )
    def test_fills_in_as_compose_does(self, text: str, filled: str) -> None:
        assert _filled(text, GIVEN) == filled

    def test_says_what_is_missing(self) -> None:
        with pytest.raises(LocalStackError, match=r"NEEDED is not set: put it into \.env"):
            _filled("${NEEDED:?put it into .env}", GIVEN)
