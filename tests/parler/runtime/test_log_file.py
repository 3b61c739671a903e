"""The log of the server: short, private, and without anybody's words."""

from pathlib import Path

from parler.runtime.log_file import MAX_LINES, LogFile
from tests._support.mcp_hosts import at_work, environment, home_of
from tests._support.mcp_peers import peer
from tests._support.processes import HubProcess


def test_it_never_grows(tmp_path: Path) -> None:
    log = LogFile(tmp_path, now=lambda: 5000, name="a/1")
    for number in range(3 * MAX_LINES):
        log.note(f"line\n{number}")
    lines = (tmp_path / "mcp.log").read_text(encoding="utf-8").splitlines()
    assert MAX_LINES <= len(lines) <= 2 * MAX_LINES
    assert lines[-1] == f"5\ta/1: line {3 * MAX_LINES - 1}"
    assert (tmp_path / "mcp.log").stat().st_mode & 0o077 == 0


def test_it_never_fails_its_caller(tmp_path: Path) -> None:
    (tmp_path / "mcp.log").mkdir()
    LogFile(tmp_path, now=lambda: 0, name="a/1").note("x")


async def test_it_holds_no_secret(hub: HubProcess, tmp_path: Path) -> None:
    secret = "planted-secret-7731"
    env = environment(tmp_path, hub.url, "ann", PARLER_JOIN_SECRET=secret)
    async with at_work(env, tmp_path) as host, peer(hub.url) as bob:
        opened = await host.calls("parler_open_session", context=secret)
        key = opened.split("KEY: ")[1].split()[0]
        room = await bob.joins(key)
        await host.calls("parler_send", text=secret)
        await host.calls("parler_remember", text=secret)
        await host.calls("parler_join_session", key=f"AAAA2222@{hub.url}")
        assert room
    log = (home_of(env) / "mcp.log").read_text(encoding="utf-8")
    assert "connected" in log
    for words in (secret, key.partition("@")[0], "AAAA2222"):
        assert words not in log
