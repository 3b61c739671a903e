"""deploy/: each file is read by the program it is for; Caddy really serves a hub."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests._support.polling import WAIT, eventually
from tests._support.processes import CHECKOUT
from tests.ship._root import command, debian_programs

pytestmark = pytest.mark.ship

DEPLOY = CHECKOUT / "deploy"
MAX_EXPOSURE = "20"
"""Tenths, of what systemd calls the exposure of a service; 10 means fully exposed."""

CADDY = """
{
	skip_install_trust
	admin off
}
import %s
"""


class Island:
    """A network of its own: a loopback, and ports that nobody else has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = debian_programs() / "usr/bin"
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up; echo up; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout
        # Before that there is only this machine's network to go into.
        assert self._holder.stdout.readline() == b"up\n"
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:{self.programs}:/usr/bin:/bin",
            "HOME": str(folder),
            "XDG_DATA_HOME": str(folder),
            "PYTHONPATH": str(CHECKOUT),
        }

    def close(self) -> None:
        self._holder.kill()
        self._holder.communicate()

    def _inside(self, words: tuple[str | Path, ...]) -> list[str]:
        there = ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net"]
        return [*there, *(str(word) for word in words)]

    def run(self, *words: str | Path, **more: str) -> str:
        """Run something there, which must succeed."""
        inside = self._inside(words)
        return command(*inside, env=self.env | more, cwd=self.folder)

    @contextmanager
    def running(self, *words: str | Path, **more: str) -> Iterator[Path]:
        """Run something there for a while; gives its log."""
        log = self.folder / f"{Path(words[0]).name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                self._inside(words),
                env=self.env | more,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            yield log
        finally:
            process.terminate()
            process.wait(WAIT)


@pytest.fixture
def island(tmp_path: Path) -> Iterator[Island]:
    made = Island(tmp_path)
    try:
        yield made
    finally:
        made.close()


def answers(island: Island, url: str, *options: str) -> str:
    """The status of a request, as curl tells it."""
    return island.run(
        *("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10"),
        *("--retry", "40", "--retry-delay", "1", "--retry-all-errors", *options, url),
    )


@contextmanager
def behind_caddy(island: Island, **hub: str) -> Iterator[Path]:
    """A hub and Caddy with our Caddyfile; gives the certificate it is trusted by."""
    config = island.folder / "Caddyfile"
    config.write_text(CADDY % (DEPLOY / "compose/Caddyfile"), encoding="utf-8")
    settings = {
        "PARLER_HUB_ADDR": "127.0.0.1:7070",
        "PARLER_HUB_DB": str(island.folder / "hub.sqlite"),
        "PARLER_HUB_URL": "wss://localhost",
        "PARLER_HUB_TRUST_PROXY_HEADERS": "1",
        **hub,
    }
    ready = ("--ready-file", str(island.folder / "ready.json"))
    serve = ("caddy", "run", "--adapter", "caddyfile", "--config", config)
    with (
        island.running("parler", "hub", *ready, **settings),
        island.running(*serve, PARLER_UPSTREAM="127.0.0.1:7070"),
    ):
        root = island.folder / "caddy/pki/authorities/local/root.crt"
        assert answers(island, "http://127.0.0.1:7070/health") == "200"
        # It makes its authority before it serves the first request by TLS.
        answers(island, "https://localhost/health", "--insecure")
        yield root


def test_agents_talk_through_caddy(island: Island) -> None:
    with behind_caddy(island) as root:
        trust = {"SSL_CERT_FILE": str(root), "CURL_CA_BUNDLE": str(root)}
        said = island.run(DEPLOY / "compose/smoke", "https://localhost", **trust)
        assert "websocket: ok" in said
        assert "sent on to https" in said
        one, two = (
            {**trust, "PARLER_HOME": str(island.folder / name)}
            for name in ("ann", "ben")
        )
        open_ = ("parler", "session", "open", "--no-approval", "--context", "by TLS")
        opened = island.run(
            *open_, "--hub", "wss://localhost", "--json", "--quiet", **one
        )
        assert "@wss://localhost" in opened
        key = opened.partition('"portable":"')[2].partition('"')[0]
        assert "by TLS" in island.run("parler", "session", "join", key, **two)


def test_a_hub_behind_caddy_limits_each_client_and_believes_none(
    island: Island,
) -> None:
    with behind_caddy(island, PARLER_HUB_MAX_HTTP_PER_MIN="5") as root:

        def ask(client: str, *options: str) -> str:
            source = ("--interface", client, "--cacert", str(root), *options)
            return answers(island, "https://localhost/api/hub", *source)

        def ask_once(client: str, *options: str) -> str:
            return ask(client, "--retry", "0", *options)

        assert ask("127.0.0.2") == "200"
        assert [ask_once("127.0.0.2") for _ in range(4)] == ["200"] * 4
        assert ask_once("127.0.0.2") == "429"
        for header in ("X-Forwarded-For", "Fly-Client-IP", "X-Real-IP", "Forwarded"):
            claim = ("-H", f"{header}: 203.0.113.9")
            assert ask_once("127.0.0.2", *claim) == "429"
        assert ask_once("127.0.0.3") == "200"


def test_metrics_are_what_prometheus_and_the_dashboard_ask_for(island: Island) -> None:
    prometheus = DEPLOY / "prometheus"
    rules = island.folder / "rules"
    shutil.copytree(prometheus, rules)
    promtool = ("promtool", "check")
    assert "SUCCESS" in island.run(*promtool, "config", rules / "prometheus.yml")
    assert "5 rules found" in island.run(*promtool, "rules", rules / "alerts.yml")
    tested = island.run("promtool", "test", "rules", rules / "alerts.test.yml")
    assert "SUCCESS" in tested
    settings = {
        "PARLER_HUB_ADDR": "127.0.0.1:7070",
        "PARLER_HUB_METRICS_ADDR": "127.0.0.1:9100",
    }
    with island.running("parler", "hub", **settings):
        assert answers(island, "http://127.0.0.1:9100/metrics") == "200"
        assert "every series" in island.run(prometheus / "smoke")
        assert "every series" in island.run(DEPLOY / "grafana/smoke")
        assert "websocket: ok" in island.run(DEPLOY / "smoke", "http://127.0.0.1:7070")
        assert "is the machine itself" in island.run(
            DEPLOY / "lan/smoke", "http://127.0.0.1:7070"
        )
        data = island.folder / "tsdb"
        serve = ("prometheus", "--config.file", rules / "prometheus.yml")
        with island.running(*serve, "--storage.tsdb.path", data):
            assert answers(island, "http://127.0.0.1:9090/-/ready") == "200"
            query = "http://127.0.0.1:9090/api/v1/query?query=up"
            eventually(lambda: '"1"]' in island.run("curl", "-s", query), "a scrape")


def test_the_service_is_sound_and_locked_up(tmp_path: Path) -> None:
    unit = DEPLOY / "systemd" / "parler-hub.service"
    root = tmp_path / "root"
    for folder in ("etc/systemd/system", "usr/local/bin"):
        (root / folder).mkdir(parents=True)
    program = root / "usr/local/bin/parler"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    shutil.copytree(
        "/usr/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True
    )
    placed = root / "etc/systemd/system" / unit.name
    shutil.copy(unit, placed)
    analyze = ("systemd-analyze", "--no-pager")
    said = command(*analyze, "verify", f"--root={root}", "--man=no", unit.name)
    assert unit.name not in said
    command(*analyze, "security", "--offline=yes", f"--threshold={MAX_EXPOSURE}", unit)
