"""What only a person may decide: who is taken for an agent, and who is asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from parler.apps.registry import all_apps
from parler.errors import UsageError
from parler.identity.homes import AGENT_SHELL
from parler.ops import person_only
from parler.ops.person_only import Deciding, PersonGate, by_an_agent
from tests._support.polling import WAIT
from tests._support.processes import CHECKOUT, environment

DECIDING = Deciding(
    what="let anybody in", question="Let bob in?", line="parler approve AAAA-BBBB"
)
MARKS = [mark for app in all_apps() for mark in app.marks]


@pytest.fixture
def nobody_above(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs these tests may be an agent."""
    monkeypatch.setattr(person_only, "all_apps_above", lambda pid: [])
    monkeypatch.setattr(person_only, "hops", lambda environment, pid: 0)


@pytest.mark.usefixtures("nobody_above")
@pytest.mark.parametrize("variable", [*AGENT_SHELL, *MARKS])
def test_an_agents_shell_passes_for_nothing(variable: str) -> None:
    def ask(question: str) -> bool:
        raise AssertionError("an agent is not asked")

    for yes in (True, False):
        person = PersonGate(environment={variable: "1"}, pid=1, ask=ask, yes=yes)
        with pytest.raises(UsageError, match="an agent cannot let anybody in") as told:
            person.agrees(DECIDING)
        assert told.value.next_step == DECIDING.line


@pytest.mark.usefixtures("nobody_above")
def test_a_person_is_asked_or_has_answered_before() -> None:
    asked: list[str] = []

    def says(answer: bool) -> PersonGate:
        def ask(question: str) -> bool:
            asked.append(question)
            return answer

        return PersonGate(environment={"CLAUDECODE": ""}, pid=1, ask=ask)

    assert says(True).agrees(DECIDING)
    assert not says(False).agrees(DECIDING)
    assert asked == [DECIDING.question] * 2
    assert PersonGate(environment={}, pid=1, ask=None, yes=True).agrees(DECIDING)
    with pytest.raises(UsageError, match="no terminal") as told:
        PersonGate(environment={}, pid=1, ask=None).agrees(DECIDING)
    assert told.value.next_step == f"{DECIDING.line} --yes"


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="programs as Linux names them"
)
@pytest.mark.parametrize(
    ("program", "agent"), [("gemini", True), ("code", False), ("an-editor", False)]
)
def test_what_runs_below_an_app_is_its_agents_unless_it_is_an_editor(
    tmp_path: Path, program: str, agent: bool
) -> None:
    app = tmp_path / program
    app.symlink_to("/bin/sh")
    code = "import os; from parler.ops.person_only import by_an_agent as f;"
    code += "print(f({}, os.getpid()))"
    done = subprocess.run(
        [app, "-c", f"sh -c \"{sys.executable} -c '{code}'; true\"; true"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=WAIT,
        check=True,
        env=environment(tmp_path),
        cwd=CHECKOUT,
    )
    # Whoever runs these tests may be an agent.
    assert done.stdout == f"{agent or by_an_agent({}, os.getpid())}\n"
