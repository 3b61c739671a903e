"""A hub's database goes to the next version of the program, and back."""

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from tests._support.old_schemas import make_schema_2
from tests._support.polling import WAIT
from tests._support.processes import CHECKOUT, Agent, HubProcess
from tests.docs._pages import blocks


def schema_of(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT value FROM meta WHERE key = 'schema_version'"
        return int(connection.execute(query).fetchone()[0])


def test_an_older_database_is_taken_over_and_can_be_gone_back_to(
    tmp_path: Path,
) -> None:
    hub = HubProcess(tmp_path / "hub")
    ann = Agent(tmp_path, "ann", hub.url)
    assert ann("session", "open", "--context", "before").status == 0
    hub.stop()
    with closing(sqlite3.connect(hub.database)) as database:
        make_schema_2(database)
        database.commit()

    hub.start()
    assert schema_of(hub.database) > 2
    assert "before" in ann("recv", "--all").out
    assert ann("send", "after the upgrade").status == 0
    assert ann("remember", "what the new one can").status == 0
    hub.stop()

    page = CHECKOUT / "docs" / "hub.md"
    steps = [line for line in blocks(page) if line.split()[0] in ("mv", "rm", "cp")]
    assert len(steps) == 3
    for step in steps:
        words = step.replace("schema-N", "schema-2")
        subprocess.run(words, shell=True, cwd=hub.folder, timeout=WAIT, check=True)
    assert schema_of(hub.database) == 2
    hub.start()  # the newer one again, from the same copy
    said = ann("recv", "--all").out
    assert "before" in said
    assert "after the upgrade" not in said
    hub.stop()
    set_aside = hub.database.with_name("hub.sqlite.newer")
    assert schema_of(set_aside) > 2


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "hub")
    ann = Agent(tmp_path, "ann", hub.url)
    assert ann("session", "open").status == 0
    hub.stop()
    with closing(sqlite3.connect(hub.database)) as database:
        query = "UPDATE meta SET value = '999' WHERE key = 'schema_version'"
        database.execute(query)
        database.commit()
    refused = ann("hub", "--addr", "127.0.0.1:0", "--db", str(hub.database))
    assert refused.status == 3
    assert "newer version" in refused.err
    assert schema_of(hub.database) == 999
    assert not list(hub.folder.glob("*.bak"))
