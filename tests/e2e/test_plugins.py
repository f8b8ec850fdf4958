"""A package beside Callboard: installed by pip, found at start, used by a job of a real server."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.processes import ROOT, environment_of, free_port, get_json, post_json, process, wait_until_ready

PLUGIN = ROOT / "tests" / "fixtures" / "sample_plugin"
ADMIN_KEY = "admin-key-of-the-operator"
TOKEN = "t0ken-of-the-shop"
END_SECONDS = 20
PRICED = {
    "name": "priced",
    "steps": [
        {
            "id": "price",
            "type": "external_api",
            "config": {"service": "shop", "method": "price", "parameters": {"article": "${input.article}"}},
        },
        {"id": "thrown", "type": "dice", "config": {"seed": "${input.article}", "dice": 3, "sides": 1}},
        {
            "id": "loud",
            "type": "transform",
            "config": {
                "operation": "shout",
                "input": "${input.article}: ${steps.price.data.usd} (${steps.thrown.total})",
                "config": {"marks": 2},
            },
        },
    ],
    "outputs": {"text": "${steps.loud.output}"},
}


class Shop(BaseHTTPRequestHandler):
    """The server behind the package's service."""

    def do_GET(self) -> None:
        is_known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        body = json.dumps({"usd": 12.5, "path": self.path} if is_known else {"error": "who are you?"}).encode()
        self.send_response(200 if is_known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@pytest.fixture
def shop_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip has installed the sample package, and nothing else."""
    target = tmp_path_factory.mktemp("plugins")
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", target, PLUGIN], check=True)
    return target


def environment(installed: Path, folder: Path, **more: object) -> dict[str, str]:
    (folder / "definitions").mkdir(exist_ok=True)
    (folder / "definitions" / "priced.json").write_text(json.dumps(PRICED))
    return environment_of(
        {
            "pythonpath": installed,
            "callboard_home": folder / "home",
            "workflows_dir": folder / "definitions",
            "prompts_dir": folder / "prompts",
            "admin_api_key": ADMIN_KEY,
            "log_level": "ERROR",
            **more,
        }
    )


class TestSamplePackage:
    def test_its_service_transform_and_step_are_used_by_a_job(
        self, installed: Path, tmp_path: Path, shop_url: str
    ) -> None:
        port = free_port()
        settings = {
            "port": port,
            "shop_url": shop_url,
            "callboard_secret_shop_token": TOKEN,
            "external_service_pricing": '{"shop": {"cost_unit": 0.5}}',
        }
        url = f"http://127.0.0.1:{port}"
        given = environment(installed, tmp_path, **settings)
        with process("-m", "callboard.cli.main", "serve", environment=given) as running:
            wait_until_ready(url, running)
            body = {"workflow_name": "priced", "input_data": {"article": "anvil"}}
            job_id = post_json(f"{url}/api/v1/workflow", body, ADMIN_KEY)["job_id"]
            job = get_json(f"{url}/api/v1/jobs/{job_id}?wait={END_SECONDS}", ADMIN_KEY)

        assert (job["status"], job["error"]) == ("completed", None)
        assert job["result"]["text"] == "ANVIL: 12.5 (3)!!"
        assert float(job["result"]["cost_data"]["total_cost_usd"]) == 0.5

    def test_is_listed(self, installed: Path, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "callboard.cli.main", "plugins", "--json"]
        listed = subprocess.run(
            command, env=environment(installed, tmp_path), cwd=ROOT, capture_output=True, text=True, check=True
        )

        items = json.loads(listed.stdout)["items"]
        assert [(item["package"], item["name"], item["problem"]) for item in items] == [
            ("acme-callboard", "shop", None),
            ("acme-callboard", "shout", None),
            ("acme-callboard", "dice", None),
        ]


class TestBrokenPackage:
    def test_stops_the_start_and_is_named(self, tmp_path: Path) -> None:
        broken = tmp_path / "site" / "broken-0.1.dist-info"
        broken.mkdir(parents=True)
        (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 0.1\n")
        (broken / "entry_points.txt").write_text("[callboard.services]\nshop = no_such_module:make\n")

        command = [sys.executable, "-m", "callboard.cli.main", "serve", "--port", "0"]
        ended = subprocess.run(
            command,
            env=environment(broken.parent, tmp_path),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

        told = " ".join(ended.stderr.split())  # as wide as the terminal
        assert ended.returncode == 1
        assert 'broken 0.1, entry point "shop" of callboard.services (no_such_module:make)' in told
        assert "No module named 'no_such_module'" in told
        assert "Traceback" not in told
