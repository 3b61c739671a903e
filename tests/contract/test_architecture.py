"""Who may import whom, and who alone may print, speak SQL or read the environment."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LADDER = (
    *("wire", "errors", "machine", "identity", "client", "sealed", "text"),
    *("handoff", "local_hub", "apps", "peers", "wake", "workers", "ask", "ops"),
    *("runtime", "mcp_server", "ui", "cli"),
)
"""The rooms of `parler`: each imports only from itself and from those before it."""

COMMON = ("registry", "running")
"""Modules of `parler.apps` that are no app's."""

COMMANDS_THAT_START_A_HUB = {"parler.cli.app"}
CONNECTING = ("bootstrap", "dialling", "own_hubs")
"""What commands use of `parler.runtime`."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module of ours, parsed."""

    name: str
    tree: ast.Module

    def is_in(self, *packages: str) -> bool:
        """Whether it is one of these modules or below one of these packages."""
        return any(
            self.name == package or self.name.startswith(f"{package}.")
            for package in packages
        )


def modules(*packages: str) -> Iterator[Module]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(part for part in parts if part != "__init__")
            yield Module(name, ast.parse(path.read_text(encoding="utf-8")))


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top_imports(module: Module) -> set[str]:
    """What importing a module imports: not what its functions do, or types need."""
    runs = [
        node
        for node in module.tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    return {name for node in runs for name in imports(node)}


def below(name: str, *packages: str) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in packages)


@cache
def ours() -> list[Module]:
    """Every module of the two packages."""
    return list(modules("parler", "hub"))


def for_every_module(check: Callable[[Module], None]) -> Callable[[], None]:
    """Make one test of a check of modules; it tells which ones fail it."""

    def test() -> None:
        wrong: dict[str, AssertionError] = {}
        for module in ours():
            try:
                check(module)
            except AssertionError as error:
                wrong[module.name] = error
        assert not wrong

    test.__doc__ = check.__doc__
    return test


def room_of(name: str) -> str | None:
    """The room of a module or of what is imported from it; None for the roof."""
    _, _, rest = name.partition(".")
    room = rest.partition(".")[0]
    return room if room in LADDER else None


def upward() -> Iterator[tuple[str, str]]:
    """Which module imports a room above its own."""
    for module in modules("parler"):
        room = room_of(module.name)
        if room is None:
            continue
        for name in set(imports(module.tree)):
            other = room_of(name) if below(name, "parler") else None
            if other and LADDER.index(other) > LADDER.index(room):
                yield module.name, other


def test_rooms_import_only_those_below_them() -> None:
    assert list(upward()) == []


def test_every_folder_is_a_room_of_the_ladder() -> None:
    folders = {path.parent.name for path in (ROOT / "parler").glob("*/__init__.py")}
    assert folders == set(LADDER) - {"errors"}


@for_every_module
def test_rooms_with_rules_of_their_own_keep_them(module: Module) -> None:
    used = set(imports(module.tree))
    inner = {name for name in used if below(name, "parler", "hub")} - {"parler"}

    def others(*allowed: str) -> set[str]:
        return {name for name in inner if not below(name, *allowed)}

    if module.is_in("hub"):
        allowed = ("hub", "parler.wire", "parler.identity.signing", "parler._version")
        assert others(*allowed) <= {"parler.identity"}
        return
    if module.name not in COMMANDS_THAT_START_A_HUB:
        assert not {name for name in inner if below(name, "hub")}
    if module.is_in("parler.identity.signing"):
        assert not others("parler.wire.base", "parler.identity.signing")
    if not module.is_in("parler.sealed.crypto"):
        assert not {name for name in used if below(name, "cryptography")}
    if module.is_in("parler.apps"):
        assert others(*_below_apps(module)) <= {"parler.machine"}
    if module.is_in("parler.ops"):
        assert not {name for name in used if below(name, "typer", "click", "mcp")}
    if module.is_in("parler.runtime"):
        assert not {name for name in used if below(name, "mcp", "mcp_types")}
    if module.is_in("parler.cli"):
        connecting = tuple(f"parler.runtime.{one}" for one in CONNECTING)
        runtime = {name for name in inner if below(name, "parler.runtime")}
        assert not {name for name in runtime if not below(name, *connecting)} - {
            "parler.runtime"
        }


def _below_apps(module: Module) -> tuple[str, ...]:
    """What a module of an app may import; one app never imports another."""
    kit = ("parler.apps.kit", "parler.apps.config_files", "parler.errors")
    if module.is_in("parler.apps.config_files"):
        return ("parler.apps.config_files", "parler.errors", "parler.machine.files")
    if module.is_in("parler.apps.kit"):
        return (*kit, "parler.machine.files")
    common = (*kit, "parler.machine", "parler._version")
    if module.is_in("parler.apps.install"):
        return (*common, "parler.apps.install")
    if module.name.count(".") == 2 and module.name.rpartition(".")[2] in COMMON:
        return (*common, "parler.apps.registry")  # registry, running
    return (*common, ".".join(module.name.split(".")[:3]))


def test_the_hub_is_imported_only_inside_its_command() -> None:
    for module in ours():
        if module.name in COMMANDS_THAT_START_A_HUB:
            assert not {name for name in top_imports(module) if below(name, "hub")}


def test_the_wire_needs_msgspec_alone() -> None:
    import sys

    for module in modules("parler/wire"):
        tops = {name.partition(".")[0] for name in imports(module.tree)}
        assert tops <= {"msgspec", "parler", *sys.stdlib_module_names}, module.name


SHOWING = ("parler.cli.render", "parler.cli._progress")
"""Where results, and what is under way, get to a terminal."""


@for_every_module
def test_only_render_prints(module: Module) -> None:
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    prints = [
        call
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in ("print", "input")
    ]
    if module.is_in("parler") and not module.is_in(*SHOWING):
        assert not prints
        echoes = {ast.unparse(call.func) for call in calls} & {
            "typer.echo",
            "click.echo",
            "typer.secho",
        }
        assert not echoes


READS_ENVIRONMENT = {
    "parler.identity.homes",
    "hub.settings",
    "hub.admin.commands",
    "hub.app",
}
"""The settings of the two programs, and the roots that hand the environment over."""


@for_every_module
def test_the_environment_is_read_in_one_place_of_each_program(module: Module) -> None:
    words = {
        ast.unparse(node)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
    }
    environment = {"os.environ", "os.getenv", "os.environb", "os.putenv"}
    if module.name not in READS_ENVIRONMENT:
        assert not words & environment


@for_every_module
def test_only_the_stores_functions_speak_sql(module: Module) -> None:
    drivers = ("sqlite3", "sqlalchemy", "psycopg", "asyncpg", "alembic")
    used = {name for name in imports(module.tree) if below(name, *drivers)}
    if module.is_in("hub.store", "parler.sealed.store"):
        called = {n.attr for n in ast.walk(module.tree) if isinstance(n, ast.Attribute)}
        # Statements written by hand are run in one place, for every dialect.
        if not module.is_in("hub.store.by_hand", "hub.store.engine"):
            assert "driver_connection" not in called
        return
    if module.is_in("hub"):
        # It hands a connection of the store to the store's functions, and no more.
        assert used <= {"sqlalchemy"}
        words = {
            node.attr
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "sa"
        }
        assert words <= {"Connection"}
        return
    assert not used


@for_every_module
def test_processes_are_started_only_where_agreed(module: Module) -> None:
    starters = {"subprocess", "multiprocessing", "pty"}
    used = {name.partition(".")[0] for name in imports(module.tree)} & starters
    agreed = (
        *("parler.handoff.git", "parler.machine.runner", "parler.machine.reaper"),
        *("parler.machine.user_name", "parler.workers.runners", "parler.local_hub"),
        *("parler.machine.desktop", "parler.machine.daemon", "parler.machine.pager"),
        "parler.machine.installed",
    )
    wakes = module.is_in("parler.apps") and module.name.endswith(".wake")
    if not module.is_in(*agreed) and not wakes:
        assert not used


@for_every_module
def test_every_module_says_what_it_is_for(module: Module) -> None:
    assert ast.get_docstring(module.tree)
