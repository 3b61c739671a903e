"""Permission requests of the agents of this machine, which its person answers.

What waits and what counts as an answer is `parler.wake.permissions`; here it is shown,
and decided by the person alone. Each answer is for one request, once.
"""

import json
from typing import Annotated

from parler.apps.registry import app_named
from parler.errors import UsageError
from parler.identity.person import find_person
from parler.ops.capability import Capability, Param
from parler.ops.context import Result
from parler.ops.machine_context import Here
from parler.ops.person_only import Deciding, PersonGate
from parler.text.terminal import counted, lines
from parler.wake.permissions import Request, Verdict, decide, requests
from parler.wire.foreign import Foreign, exact, foreign

MAX_SHOWN_LINES = 12
MAX_SHOWN_CHARS = 1200
"""Of a request in a list; what is longer is folded."""


_Which = Annotated[
    str, Param("Its id, as `parler inbox` shows it.", "ID", positional=True)
]


class PermissionRequest(Result):
    """An app asks whether its agent may use a tool."""

    id: str
    """It names the content: of another content, there is another id."""

    app: str
    folder: Foreign
    """Where the agent works."""

    tool: Foreign
    input: Foreign
    """What the tool is to be given, as JSON, all of it."""

    since: int
    """Epoch milliseconds, as `expires`."""

    expires: int

    @property
    def title(self) -> str:
        """What the app is called."""
        found = app_named(self.app)
        return found.title if found else "an app"


class PermissionResult(Result):
    """What was decided about which request."""

    id: str
    permitted: bool
    tool: Foreign
    app: str


def permissions(here: Here) -> list[PermissionRequest]:
    """What waits on this machine, the oldest first."""
    return [_shown(one) for one in requests(here.home, now=here.now())]


def permission_meant(here: Here, which: str) -> PermissionRequest:
    """The request of an id; a part of an id names none.

    Raises:
        UsageError: None that waits has it.
    """
    return _shown(_meant(here, which))


def permit(
    here: Here,
    which: _Which,
) -> PermissionResult:
    """Permit a request, this once.

    Raises:
        UsageError: An agent runs us, or no such request waits.
        ConfigError: It cannot be written down.
    """
    return _decide(here, which, Verdict.PERMIT)


def refuse(
    here: Here,
    which: _Which,
) -> PermissionResult:
    """Refuse a request; raises as `permit`."""
    return _decide(here, which, Verdict.REFUSE)


PERMIT = Capability(
    run=permit,
    also=[permission_meant],
    about="Let an agent use a tool this once, as its app asks you.",
    more="For apps wired with `parler connect --approvals`. It shows all that the tool "
    "is given, and asks. Whoever answers first counts: you here, or the app's prompt.",
    result=[PermissionResult],
    command="permit",
    example="parler permit ABCD-EFGH-IJKL-MNOP",
    no_tool="what an agent may do is for its user to decide",
)
REFUSE = Capability(
    run=refuse,
    about="Keep an agent from using a tool, as its app asks you.",
    more="Its model is told so. For apps wired with `parler connect --approvals`.",
    command="refuse",
    example="parler refuse ABCD-EFGH-IJKL-MNOP",
    no_tool="what an agent may do is for its user to decide",
)


def input_lines(one: PermissionRequest) -> list[str]:
    """All that the tool is given, for people: a line for each part, more for longer
    ones, which are indented so that none looks like another part."""
    found: list[str] = []
    for key, value in json.loads(exact(one.input)).items():
        text = value if isinstance(value, str) else json.dumps(value)
        first, *more = lines(f"{json.dumps(key)[1:-1]}: {text}")
        found += [first, *(f"    {line}" for line in more)]
    return found


def folded(shown: list[str]) -> tuple[list[str], str]:
    """The beginning of what is long, and how much is left out, in words."""
    kept, room = [], MAX_SHOWN_CHARS
    for line in shown[:MAX_SHOWN_LINES]:
        if len(line) > room:
            break
        kept.append(line)
        room -= len(line)
    left = shown[len(kept) :]
    if not left:
        return kept, ""
    return kept, counted(len(left), "more line", "more lines")


def minutes_left(one: PermissionRequest, now: int) -> str:
    """How long it waits, in words."""
    left = max(0, one.expires - now) // 1000
    return f"{left // 60} min left" if left >= 60 else f"{left} s left"


def _shown(one: Request) -> PermissionRequest:
    asked = one.asked
    return PermissionRequest(
        id=one.id,
        app=asked.app,
        folder=foreign(asked.folder),
        tool=foreign(asked.tool),
        input=foreign(json.dumps(asked.input, ensure_ascii=False)),
        since=asked.since,
        expires=asked.expires,
    )


def _meant(here: Here, which: str) -> Request:
    wanted = which.strip().upper()
    for one in requests(here.home, now=here.now()):
        if one.id == wanted:
            return one
    raise UsageError(
        "no such request waits: it was answered, has expired, or is another by now",
        next_step="parler inbox",
    )


def _decide(here: Here, which: str, verdict: Verdict) -> PermissionResult:
    line = f"parler {verdict} {which}"
    deciding = Deciding(
        what=f"{verdict} what an agent asks for", question="", line=line
    )
    PersonGate(environment=here.environment, pid=here.pid, ask=None).check(deciding)
    one = _meant(here, which)
    person = find_person(here.home)
    if person is None:
        raise UsageError("there is nobody to decide it", next_step="parler whoami")
    decide(here.home, one, verdict, key=person.keypair, now=here.now())
    return PermissionResult(
        id=one.id,
        permitted=verdict is Verdict.PERMIT,
        tool=foreign(one.asked.tool),
        app=one.asked.app,
    )
