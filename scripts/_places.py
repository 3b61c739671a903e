"""What Parler reads from the environment and keeps on disk, for the reference pages.

Tests hold it against the code and against homes that were used
(`tests/contract/test_docs.py`, `tests/docs/test_commands.py`).
"""

from collections.abc import Iterator
from typing import NamedTuple


class Variable(NamedTuple):
    """One variable of the environment."""

    name: str
    about: str


SETTINGS = (
    Variable("PARLER_HOME", "where the identity is kept, an absolute path (`--home`)"),
    Variable("PARLER_HUB", "the hub of whatever runs under it (`--hub`)"),
    Variable("PARLER_NAME", "the name to go by, and of an identity that is made"),
    Variable("PARLER_ROLE", "the role, the same way"),
    Variable("PARLER_JOIN_SECRET", "the join secret of that hub; shown to no other"),
    Variable(
        "PARLER_INSECURE", "`1`: plain `ws://` beyond private networks (`--insecure`)"
    ),
    Variable(
        "PARLER_SHARED_IDENTITY", "`1`: one agent for all projects of an app, not each"
    ),
    Variable(
        "PARLER_AGENT_SESSION", "a word of yours: a further agent in the same project"
    ),
)
SERVER = (
    Variable("PARLER_SESSION_KEY", "a `KEY@HUB` to join as it starts"),
    Variable("PARLER_TOOLS", "`full`: offer all tools, not the default ones"),
    Variable("PARLER_MCP_VERBOSE", "`1`: never cut a message in a tool's result"),
    Variable("PARLER_NO_REGISTER", "`1`: no card in the hub's directory"),
    Variable("PARLER_PUBLIC", "`1`: the card is shown to everybody"),
    Variable("PARLER_TAGS", "tags of the card, with commas or blanks between"),
    Variable("PARLER_SKILLS", "its skills, the same way"),
    Variable("PARLER_DESCRIBE", "its description"),
    Variable(
        "PARLER_PRESENCE_MANAGED", "`1`: another program says what the agent is doing"
    ),
)
TOLD = (
    Variable("PARLER_TASK_ID", "the task"),
    Variable("PARLER_ROOM", "the room it came from"),
    Variable("PARLER_FROM", "who gave it, by id"),
    Variable("PARLER_FROM_NAME", "and by name: a stranger's word"),
    Variable("PARLER_ROLE", "the role it was given to"),
    Variable("PARLER_HOME", "the home of `parler work`, if it may use that"),
    Variable("PARLER_ASK_HOPS", "how many agents asked before an agent that answers"),
)
OTHERS = (
    Variable("NO_COLOR", "no colours"),
    Variable("FORCE_COLOR", "colours where there is no terminal, too"),
    Variable("PARLER_PAGER", "what shows a long history; `PAGER` if that is unset"),
    Variable("HTTPS_PROXY", "the proxy to a `wss://` hub beyond your network"),
    Variable("ALL_PROXY", "the same, if that is unset"),
    Variable("NO_PROXY", "hosts that are dialled directly"),
    Variable("_PARLER_COMPLETE", "set by a shell that completes a line"),
)
HUB_PREFIX = "PARLER_HUB_"


class Kept(NamedTuple):
    """A file or a folder below a home."""

    path: str
    """With ``*`` for what differs."""

    about: str
    lost: str
    """What is lost with it."""


MACHINE = (
    Kept("hub.json", "which hub was chosen", "it is this machine's own again"),
    Kept("known_hubs.json", "which hub answers at which address", "it is learnt anew"),
    Kept("secrets.json", "join secrets, by hub", "they are asked for"),
    Kept("devices.json", "phones that act for you", "you pair them again"),
    Kept("contacts.json", "persons you trust", "you compare fingerprints again"),
    Kept("senders.json", "strangers accepted or declined", "they ask again"),
    Kept("connect.json", "what was written into which app", "nothing: marks tell"),
    Kept("backups/*", "apps' files as they were before", "the way back by hand"),
    Kept("projects.json", "projects that can be asked, and who may", "add them again"),
    Kept("asks/*", "what was asked and answered, and spent", "the log"),
    Kept("askers.json", "words that stand for your projects", "follow-ups"),
    Kept("live/*", "who is here", "it comes again by itself"),
    Kept("live/reservations.json", "which files are spoken for", "reserve again"),
    Kept("seen-messages/*", "where messages were met: tells copies", "old copies pass"),
    Kept("hub/hub.sqlite*", "this machine's hub: all it stores", "every room on it"),
    Kept("hub/local.json", "its address, and whether a team's", "the team's address"),
    Kept("hub/local-secret", "the secret of this machine", "a new one is made"),
    Kept("hub/join-secret", "the secret of the team", "teammates need a new one"),
    Kept("hub/hub.log*", "what it said, 1 MiB and one part before", "the log"),
    Kept("hub/running", "held by the hub that runs", "nothing"),
    Kept("hub/change*", "held while it starts or stops", "nothing"),
    Kept("hub/stopped", "there if you stopped it", "it starts by itself again"),
    Kept("hub/*.xml", "the task for its start at login, on Windows", "nothing"),
    Kept("agents/*", "a home for each app, with one for each project", "its agents"),
    Kept("answerers/*", "a home for each project that answers", "its agent"),
)
IDENTITY = (
    Kept("config.json*", "name, id and the private key", "the identity, for good"),
    Kept("sessions.json", "which hub each room is on", "where rooms are"),
    Kept("active_session", "the active session", "`parler session use` sets it"),
    Kept("knocked", "where you wait to be let in", "knock again"),
    Kept("outbox.json", "said while the hub was away", "what was not sent yet"),
    Kept("outbox.damaged.json", "the same, where it was unreadable", "that"),
    Kept("presence.json", "what you said you are doing", "say it again"),
    Kept("inbox/*", "files that were sent to you", "fetch them again"),
    Kept("autonomous-replay/*", "tasks taken: none is done twice", "that promise"),
)
WINDOW = (
    Kept("place.json", "which window has this home", "a window finds another seat"),
    Kept("seats*", "homes of the project's further windows", "their agents"),
    Kept("consumer", "which process reads the hub", "nothing"),
    Kept("waiting.json", "mail for the model", "it is fetched again"),
    Kept("shown.json", "what it was shown", "it is shown again"),
    Kept("held/*", "held while something is shown", "nothing"),
    Kept("hooks/*", "which hooks ran last", "nothing"),
    Kept("waiters/*", "held by the hook that can wake it", "nothing"),
    Kept("stops.json", "turns continued in a row", "nothing"),
    Kept("joining.json", "a key that waits for its owner", "knock again"),
    Kept("mcp.log", "what the server had to say, 200 lines", "the log"),
)
LOCK = "*.lock"


def environment_page() -> str:
    """The page of variables."""
    return "\n".join(
        [
            "# Environment variables",
            "",
            "None has to be set. An option on the command line comes before its "
            "variable, a variable before what is saved; `parler config` shows each "
            "setting and where it comes from.",
            "",
            *_variables("For every command", SETTINGS),
            *_variables("For `parler mcp`", SERVER),
            "## For `parler hub`",
            "",
            "Every flag of a hub is also a variable, `PARLER_HUB_` and the flag in "
            "capitals: `--max-connections` is `PARLER_HUB_MAX_CONNECTIONS`. "
            "[The flags](hub.md).",
            "",
            *_variables("What programs are told that Parler starts", TOLD),
            *_variables("Of others", OTHERS),
            "Where an agent app keeps its files is found by the app's own variables, "
            "such as `CLAUDE_CONFIG_DIR` and `CODEX_HOME`; a page about "
            "[each app](../apps/index.md) names them.",
            "",
        ]
    )


def files_page() -> str:
    """The page of files."""
    return "\n".join(
        [
            "# Files",
            "",
            "Everything is below `~/.parler`, or `PARLER_HOME`, for its owner alone "
            "(folders 0700, files 0600). Nothing is written into projects. Apps' own "
            "files get one entry each, as their [pages](../apps/index.md) show.",
            "Files that end in `.lock` are empty and may go whenever nothing runs; "
            "`.bak` is an earlier state that was kept.",
            "",
            *_files("The machine's home", "~/.parler", MACHINE),
            *_files(
                "The home of an identity",
                "The machine's home, which is yours as a person, and each agent's: "
                "`~/.parler/agents/APP`, `…/APP/ws/PROJECT` for each project, "
                "`…/ws/PROJECT/seats/N` for each further window",
                IDENTITY,
            ),
            *_files(
                "The home of an app's window",
                "`~/.parler/agents/APP/ws/PROJECT` beside those of its identity",
                WINDOW,
            ),
            "## Taking all of it away",
            "",
            "    parler connect --remove",
            "    parler hub stop",
            "",
            "puts apps back and stops the hub; then `~/.parler` can be deleted. The "
            "keys in it are gone for good: who knew your agents has to compare "
            "fingerprints again.",
            "",
        ]
    )


def _variables(title: str, variables: tuple[Variable, ...]) -> Iterator[str]:
    yield from (f"## {title}", "", "| | |", "|---|---|")
    yield from (f"| `{one.name}` | {one.about} |" for one in variables)
    yield ""


def _files(title: str, where: str, files: tuple[Kept, ...]) -> Iterator[str]:
    where = where if "`" in where else f"`{where}`"
    yield from (f"## {title}", "", f"{where}.", "")
    yield from ("| | What it is | Without it |", "|---|---|---|")
    yield from (f"| `{one.path}` | {one.about} | {one.lost} |" for one in files)
    yield ""
