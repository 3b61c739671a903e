"""The hub bench: that every kind of load runs and says what it measured.

The figures of so short a run mean nothing, so none of them is judged.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import _machine, hub


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("arguments", "figures"),
    [
        (["send"], {"send_per_s", "hub_cpu_us_per_send", "p50_ms", "p99_ms"}),
        (["send", "--one-room"], {"send_per_s", "hub_cpu_us_per_send"}),
        (["fanout"], {"to_2_delivery_per_s", "to_2_p99_ms_at_50_per_s"}),
        (["pull"], {"message_per_s", "hub_cpu_us_per_message"}),
        (["connect"], {"handshake_per_s", "hub_cpu_us_per_handshake"}),
        (["idle"], {"kib_per_connection", "idle_cpu"}),
        (["slow"], {"growth_mib", "p99_ms", "p99_ms_without", "p99_ms_ratio"}),
        (["blob"], {"upload_mib_per_s", "download_mib_per_s", "send_p99_ms_beside"}),
        (["recall"], {"recall_per_s", "remember_per_s", "send_max_ms_beside_big"}),
        (["rooms"], {"listing_per_s", "ping_p99_ms_beside"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_load_prints_one_line_with_its_figures(
    arguments: list[str],
    figures: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert hub.main([*arguments, "--short", "--dir", str(tmp_path)]) == 0
    line: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert line["bench"] == f"hub {arguments[0]}"
    assert figures <= line.keys()
    assert {"cpu", "cores", "python", "fsync_us", "uvicorn"} <= line["machine"].keys()
    assert list(tmp_path.iterdir()) == []


def test_medians_are_taken_per_figure() -> None:
    rounds = [{"a": 1.0, "b": 9.0}, {"a": 3.0, "b": 7.0}, {"a": 2.0, "b": 8.12345}]
    assert _machine.medians(rounds) == {"a": 2, "b": 8.123}


def test_percentile_is_one_of_the_values() -> None:
    values = [4.0, 1.0, 3.0, 2.0]
    assert _machine.percentile(values, 0.5) == 3.0
    assert _machine.percentile(values, 0.99) == 4.0
