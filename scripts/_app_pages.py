"""What the page of each agent app says of it, from what the program knows.

A page is written by hand but for what stands between two marks: its files, when its
model is told of a message, what it can do. A table of all apps is on the first page.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from _suites import SUITES

from parler.apps.kit.app import App
from parler.apps.kit.hooks import Event
from parler.apps.kit.platform import Machine, Platform
from parler.apps.kit.promises import Promises, promises_of
from parler.apps.registry import all_apps

PAGES = Path(__file__).resolve().parents[1] / "docs" / "apps"
BEGIN, END = "<!-- from the program: begin -->", "<!-- from the program: end -->"
HOME = PurePosixPath("/home/you")
TIMES = {
    Event.SESSION_START: ("as a session starts", "start"),
    Event.PROMPT: ("with your next prompt", "prompt"),
    Event.STOP: ("as a turn ends", "end of turn"),
}
"""When a hook can tell a model something, at length and in a word."""

TRIED = {
    "claude-code": "@anthropic-ai/claude-code",
    "codex": "@openai/codex",
    "gemini": "@google/gemini-cli",
    "opencode": "opencode-ai",
    "cline-cli": "cline",
    "copilot": "@github/copilot",
}
"""What the suite of the real apps installs."""

OTHERS = "others"
"""The page of the apps that have none of their own."""


def pages() -> Iterator[tuple[Path, str]]:
    """Every page with what is generated in it brought up to date."""
    for path in sorted(PAGES.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        before, begin, rest = text.partition(BEGIN)
        if not begin:
            continue
        after = rest.partition(END)[2]
        told = table() if path.stem == "index" else facts(path.stem)
        yield path, f"{before}{BEGIN}\n{told}\n{END}{after}"


def page_of(app: App) -> str:
    """The page that tells of an app."""
    if (PAGES / f"{app.id}.md").exists():
        return app.id
    if app.hooks or app.can_wake or app.headless:
        raise SystemExit(f"{app.title} can do more than others: write its page")
    return OTHERS


def facts(page: str) -> str:
    """What is known of the apps of a page."""
    apps = [app for app in all_apps() if page_of(app) == page]
    if page == OTHERS:
        return "\n".join(map(line_of, apps))
    [app] = apps
    return rows(("", ""), facts_of(app))


def rows(head: tuple[str, ...], cells: Iterable[tuple[str, ...]]) -> str:
    """A table."""
    lines = [head, ("---",) * len(head), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def line_of(app: App) -> str:
    """What is said of an app that has no page of its own."""
    takes, notes = effect(app)
    said = f"- **{app.title}** ({called(app)}): {files(app)}. To take effect: {takes}."
    return f"{said} {notes}." if notes else said


def facts_of(app: App) -> Iterator[tuple[str, str]]:
    """What is said of one app."""
    takes, notes = effect(app)
    yield "Called", called(app)
    yield "Its files, on Linux", files(app)
    yield "Takes effect", takes
    yield "Its model is told of a message", ", ".join(told_at(app))
    yield "Is woken while idle", woken(app)
    yield "Stops an edit of a reserved file", yes(Event.PRE_EDIT in promised(app).hooks)
    yield "Its permission requests can be answered elsewhere", yes(promised(app).asks)
    yield "Answers and works without a window", yes(promised(app).works)
    yield "Tried in", tried(app)
    if notes:
        yield "To know", notes


def table() -> str:
    """All apps, and what each can do."""
    return rows(
        (
            *("App", "Told", "Woken", "Edits stopped", "Asks elsewhere", "Rules"),
            *("Without window", "Tried in"),
        ),
        (
            (
                f"[{app.title}]({page_of(app)}.md)",
                ", ".join(times_of(app, brief=True)),
                woken(app),
                yes(Event.PRE_EDIT in promised(app).hooks),
                yes(promised(app).asks),
                "written" if promised(app).has_rules else "its own",
                yes(promised(app).works),
                tried(app),
            )
            for app in all_apps()
        ),
    )


def called(app: App) -> str:
    """What `parler connect` takes for it."""
    return ", ".join(f"`{name}`" for name in (app.id, *app.aliases))


def effect(app: App) -> tuple[str, str]:
    """What its user does after wiring, and should know."""
    config = app.config()
    return config.restart, "; ".join(config.notes + config.hook_notes)


def tried(app: App) -> str:
    """Which version our tests run."""
    package = TRIED.get(app.id)
    named = [one for suite in SUITES for one in suite.npm if package]
    found = [one for one in named if one.rpartition("@")[0] == package]
    return found[0].rpartition("@")[2] if found else "its files alone"


def told_at(app: App) -> list[str]:
    """When its model hears of what waits, without being woken."""
    return [*times_of(app), "with its own calls of Parler"]


def times_of(app: App, *, brief: bool = False) -> list[str]:
    """When its hooks tell its model."""
    hooks = app.hooks() if app.hooks else None
    return [
        said[brief]
        for event, said in TIMES.items()
        if hooks is not None
        and event in promised(app).hooks
        and (event is Event.STOP or hooks.context(event, "text") is not None)
    ] or (["own calls"] if brief else [])


def woken(app: App) -> str:
    """Whether there is a way to its model between turns."""
    if not promised(app).wakes:
        return "no"
    return "yes" if app.hooks else "where it listens"


def yes(is_so: bool) -> str:
    """A word for a table."""
    return "yes" if is_so else "no"


@cache
def promised(app: App) -> Promises:
    """What the program promises of it, on some Linux machine."""
    return promises_of(app, Machine(platform=Platform.LINUX, env={}, home=Path(HOME)))


def files(app: App) -> str:
    """What `parler connect` changes."""
    paths = (f"`~/{path.relative_to(HOME)}`" for path in promised(app).files)
    return ", ".join(dict.fromkeys(paths))
