"""Writes the reference from the program: every command, every MCP tool, the hub, and
the manual page.

The pages are committed, so that they can be read without building anything; a test
runs `--check`, so that they cannot drift.
"""

import argparse
import builtins
import inspect
import pkgutil
import re
import sys
import types
import typing
from collections import abc
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import click
import msgspec
import typer

sys.path.insert(0, str(Path(__file__).parent))  # -I leaves it out
import _app_pages
import _places

CHECKOUT = Path(__file__).resolve().parents[1]
PAGES = CHECKOUT / "docs" / "reference"
INDEX = CHECKOUT / "parler" / "cli" / "_index.py"
MANUAL = CHECKOUT / "parler" / "cli" / "parler.1"
COMMON = frozenset({"json", "quiet", "hub", "home", "insecure", "help"})
"""Options that every command has; told once."""

_STARTS_A_MACRO = re.compile(r"^(?=[.'])", re.MULTILINE)
_WORDS = {str: "text", int: "number", float: "number", bool: "true or false"}
LISTED_CHARS = 60
"""What a list of commands has room for beside their names, at 80 columns."""


def main(arguments: list[str]) -> int:
    """Write the pages, or say which differ from what the program says."""
    parser = argparse.ArgumentParser(prog="scripts/reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check: bool = parser.parse_args(arguments).check
    stale = [path for path, text in pages() if not is_current(path, text, check=check)]
    for path in stale:
        print(
            f"reference: {path.relative_to(CHECKOUT)} differs; run ./scripts/reference"
        )
    return 1 if stale else 0


def is_current(path: Path, text: str, *, check: bool) -> bool:
    """Whether a page is as it should be; without `check` it is from now on."""
    if check:
        return path.is_file() and path.read_text(encoding="utf-8") == text
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return True


def pages() -> Iterator[tuple[Path, str]]:
    """Every generated page with its text."""
    yield INDEX, index_module()
    yield PAGES / "cli.md", cli_page()
    yield PAGES / "hub.md", hub_page()
    yield PAGES / "mcp.md", mcp_page()
    yield PAGES / "environment.md", _places.environment_page()
    yield PAGES / "files.md", _places.files_page()
    yield from _app_pages.pages()
    yield MANUAL, manual()


def index_module() -> str:
    """Which words there are, where they are and what they do, in the order of help."""
    from parler.cli.app import AREAS, tree

    root = typer.main.get_command(tree())
    lines = [
        '"""Which commands there are, to be listed and found without importing any.',
        "",
        "Written by scripts/reference from what they declare: not to be edited.",
        '"""',
        "",
        "COMMANDS: dict[str, tuple[str | None, str]] = {",
    ]
    for name, command in getattr(root, "commands", {}).items():
        homes = (f'"{area}"' for area in AREAS if name in words_of(area))
        about = sentence(command).replace('"', "'")
        home = next(homes, "None")
        lines += [
            f'    "{name}": (',
            f"        {home},",
            f'        "{about}",',
            "    ),",
        ]
    lines += ["}", "", "WORDS: dict[str, tuple[str, ...]] = {"]
    for name, words in words_below(root).items():
        if len(words) == 1:
            lines.append(f'    "{name}": ("{words[0]}",),')
            continue
        lines += [f'    "{name}": (', *(f'        "{one}",' for one in words), "    ),"]
    return "\n".join([*lines, "}", '"""What may follow those that are several."""', ""])


def sentence(command: click.Command) -> str:
    """What a command does: its first paragraph, which a list shows in one line."""
    about = " ".join((command.help or "").split("\n\n")[0].split())
    if len(about) > LISTED_CHARS:
        raise SystemExit(
            f"{command.name}: more than {LISTED_CHARS} characters: {about}"
        )
    return about


def words_below(root: click.Command) -> dict[str, list[str]]:
    """The words that follow each word which stands for several commands."""
    from hub.admin import commands as of_its_data
    from parler.cli.hub import app as own_hub

    groups = getattr(root, "commands", {}) | {"hub": typer.main.get_command(own_hub)}
    below = {
        name: [word for word, one in group.commands.items() if not one.hidden]
        for name, group in groups.items()
        if isinstance(group, click.Group)
    }
    below["hub"] += of_its_data.COMMANDS
    return below


def words_of(area: str) -> set[str]:
    """The words that a module of the command line adds to the tree."""
    app = typer.Typer()
    import_module(f"parler.cli.{area}").add_to(app)
    names = [one.name for one in app.registered_commands]
    return {name for name in names if name} | {
        group.name for group in app.registered_groups if group.name
    }


def cli_page() -> str:
    """All commands with their arguments, options and results."""
    from parler.cli.app import app

    declared = capabilities()
    results = {
        f"parler {name}": results_of(one)
        for name, one in declared.items()
        if not one.hidden
    }
    lines = [
        "# Command line",
        "",
        "Every command also takes `--json`, `--quiet`, `--hub URL`, `--home DIR`, "
        "`--insecure` and `--help`, before its name or after it; "
        "`parler help COMMAND` explains one.",
        "",
        "A shell completes commands, options and values after "
        '`eval "$(parler completion bash)"`, or `zsh`; for fish see '
        "[`parler completion`](#parler-completion).",
        "",
    ]
    for path, command in walk("parler", typer.main.get_command(app)):
        lines += command_lines(path, command)
        lines += result_lines(results.get(path, []))
    lines += ["## Everywhere", "", plain(app.info.epilog or ""), ""]
    lines += shape_lines([one for some in results.values() for one in some])
    return "\n".join(lines)


def capabilities() -> dict[str, Any]:
    """What can be done on the command line, by its words after `parler`."""
    import parler.cli
    import parler.ops
    from parler.ops.capability import Capability

    found: dict[str, Any] = {}
    for package in (parler.ops, parler.cli):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            values = vars(import_module(info.name)).values()
            some = (one for one in values if isinstance(one, Capability))
            found |= {one.command: one for one in some if one.command}
    return found


def results_of(capability: Any) -> list[type[msgspec.Struct]]:
    """What a command prints with `--json`: one of these."""
    returned = capability.result or [
        inspect.signature(one).return_annotation
        for one in (capability.run, *capability.also)
    ]
    found = dict.fromkeys(returned)
    return [one for one in found if is_struct(one)]


def is_struct(kind: Any) -> bool:
    """Whether it is an object in JSON that has a name of its own."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def result_lines(results: Sequence[type[msgspec.Struct]]) -> list[str]:
    """What a command prints with `--json`."""
    lines: list[str] = []
    for one in results:
        lines += ["or" if lines else "With `--json`:", "", f"    {shape_of(one)}", ""]
    return lines


def shape_lines(results: Sequence[type[msgspec.Struct]]) -> list[str]:
    """The objects within results, each by its name."""
    named: dict[str, type[msgspec.Struct]] = {}
    todo = [part for one in results for part in parts_of(one)]
    while todo:
        one = todo.pop()
        if named.setdefault(one.__name__, one) is not one:
            raise SystemExit(f"two kinds of objects are called {one.__name__}")
        todo += [part for part in parts_of(one) if part.__name__ not in named]
    lines = [
        "## What `--json` prints",
        "",
        "One line: an object as it stands with the command, or, on stderr, "
        "`{error: {code: text, message: text, next: text or null, "
        "mayHaveHappened?: true or false}}`. What has a `?` is left out where there "
        "is nothing to say. Times are numbers of milliseconds since 1970. "
        "These stand within others:",
        "",
    ]
    for name, kind in sorted(named.items()):
        about = (kind.__doc__ or "").strip().split("\n")[0]
        lines += [f"### `{name}`", "", about, "", f"    {shape_of(kind)}", ""]
    return lines


def shape_of(kind: type[msgspec.Struct]) -> str:
    """An object with its keys, and what each has."""
    hints = get_type_hints(kind)
    shown = []
    config = kind.__struct_config__
    if config.tag_field:
        shown.append(f'{config.tag_field}: "{config.tag}"')
    for one in msgspec.structs.fields(kind):
        may_lack = "" if one.required or not config.omit_defaults else "?"
        value = value_of(hints[one.name])
        if not may_lack and type(None) in get_args(hints[one.name]):
            value += " or null"
        shown.append(f"{one.encode_name}{may_lack}: {value}")
    return "{" + ", ".join(shown) + "}"


def value_of(kind: Any) -> str:
    """What a key has, in words."""
    kind = getattr(kind, "__supertype__", kind)
    if is_struct(kind):
        return str(kind.__name__)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(f'"{one.value}"' for one in kind)
    inner = [value_of(one) for one in get_args(kind) if one is not type(None)]
    match get_origin(kind):
        case builtins.list | abc.Sequence | builtins.tuple:
            return f"[{inner[0]}]"
        case builtins.dict | abc.Mapping:
            return f"{{{inner[0]}: {inner[1]}}}"
        case types.UnionType | typing.Union:
            return " or ".join(inner)
        case typing.Annotated:
            return inner[0]
        case typing.Literal:
            return " or ".join(f'"{one}"' for one in get_args(kind))
    return _WORDS.get(kind, "any JSON")


def parts_of(kind: Any) -> list[type[msgspec.Struct]]:
    """The objects that stand within one."""

    def structs(hint: Any) -> Iterator[type[msgspec.Struct]]:
        if is_struct(hint):
            yield hint
        for one in get_args(hint):
            yield from structs(one)

    return [one for hint in get_type_hints(kind).values() for one in structs(hint)]


def walk(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """The visible commands below one, in the order of the help."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, inner in command.commands.items():
        if not inner.hidden:
            yield from walk(f"{path} {name}", inner)


def command_lines(path: str, command: click.Command) -> list[str]:
    """One command as Markdown."""
    context = click.Context(command, info_name=path)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"## `{path}`", "", f"    {path} {usage}", "", plain(command.help), ""]
    rows = [row for parameter in command.params if (row := parameter_row(parameter))]
    if rows:
        lines += ["| | |", "|---|---|", *rows, ""]
    return lines


def parameter_row(parameter: click.Parameter) -> str | None:
    """One argument or option as a row, None for what all commands have."""
    if parameter.name in COMMON:
        return None
    if isinstance(parameter, click.Option):
        if parameter.hidden:
            return None
        names = ", ".join([*parameter.opts, *parameter.secondary_opts])
        if not parameter.is_flag:
            names += f" {parameter.make_metavar(click.Context(click.Command('')))}"
    else:
        names = parameter.metavar or (parameter.name or "").upper()
    text = cell(getattr(parameter, "help", None) or "")
    return f"| `{names.replace('|', ' or ')}` | {text} |"


def hub_page() -> str:
    """The flags of a hub as its own help tells them, and what looks after one."""
    from hub.admin.commands import _parser
    from hub.settings import parser
    from parler.cli.hub import app

    top = parser({})
    lines = [
        "# Hub",
        "",
        "## `parler hub`",
        "",
        str(top.description),
        "Every flag may be given in the environment as `PARLER_HUB_<FLAG>`.",
        "",
        *flag_table(top),
        "## This machine's own hub",
        "",
    ]
    declared = capabilities()
    results = []
    for path, command in walk("parler hub", typer.main.get_command(app)):
        lines += command_lines(path, command)
        results += (some := results_of(declared[path.removeprefix("parler ")]))
        lines += result_lines(some)
    lines += ["## The data of a hub", ""]
    for name, inner in subcommands(_parser({})):
        about = plain(inner.description)
        lines += [f"## `parler hub {name}`", "", about, "", *flag_table(inner)]
    lines += shape_lines(results)
    return "\n".join(lines)


def flag_table(parser: argparse.ArgumentParser) -> list[str]:
    """What a program takes, as a table."""
    lines = ["| | |", "|---|---|"]
    for action in parser._actions:
        if "--help" in action.option_strings:
            continue
        name = action.option_strings[-1] if action.option_strings else action.dest
        value = f" {action.metavar}" if action.option_strings and action.metavar else ""
        text = cell((action.help or "").replace("%%", "%"))
        lines.append(f"| `{name}{value}` | {text} |")
    return [*lines, ""]


def subcommands(
    parser: argparse.ArgumentParser,
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The commands of a program that has some."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def mcp_page() -> str:
    """The tools of the MCP server, as hosts are shown them."""
    from parler.mcp_server.tools.registry import ALL

    common = [tool for tool in ALL if tool.capability.common]
    others = [tool for tool in ALL if not tool.capability.common]
    lines = [
        "# MCP tools",
        "",
        "`parler mcp` speaks the Model Context Protocol on stdin and stdout.",
        "The first group is offered by default, the rest with `PARLER_TOOLS=full`; "
        "those are carried out all the same when they are called.",
        "",
    ]
    for title, tools in (("By default", common), ("With PARLER_TOOLS=full", others)):
        lines += [f"## {title}", ""]
        for tool in tools:
            lines += tool_lines(tool.as_offer())
    return "\n".join(lines)


def tool_lines(offer: Mapping[str, Any]) -> list[str]:
    """One tool as Markdown."""
    schema = offer["inputSchema"]
    lines = [f"### `{offer['name']}`", "", plain(offer["description"]), ""]
    if offer["annotations"].get("readOnlyHint"):
        lines += ["Only reads.", ""]
    rows = [
        f"| `{name}`{', required' if name in schema.get('required', ()) else ''} "
        f"| {cell(described(value))} |"
        for name, value in schema["properties"].items()
    ]
    return [*lines, *(["| | |", "|---|---|", *rows, ""] if rows else [])]


def described(schema: Mapping[str, Any]) -> str:
    """What an argument is, and which kind of value it takes."""
    kind = str(schema.get("type", "any"))
    if "enum" in schema:
        kind = ", ".join(map(str, schema["enum"]))
    about = str(schema.get("description", ""))
    return f"{about} ({kind})" if about else kind


def manual() -> str:
    """`parler(1)` in the macros of man."""
    from parler.cli._help import SECTIONS, SHARED
    from parler.cli.app import app

    root = typer.main.get_command(app)
    lines = [
        '.\\" Written by scripts/reference from what the program declares.',
        ".TH PARLER 1",
        ".nh",  # no option or variable is broken, and no blanks between for show
        ".ad l",
        ".SH NAME",
        f"parler \\- {roff(root.help or '').rstrip('.')}",
        ".SH SYNOPSIS",
        ".B parler",
        "[\\fIcommand\\fR] [\\fIoptions\\fR]",
        ".SH DESCRIPTION",
        "Without a command, what waits for you, who is here, your rooms and the hub.",
        "The first thing to do is",
        '.BR "parler connect" ,',
        "which wires the agent apps of this machine.",
        ".SH OPTIONS",
        "All commands take these, before their name or after it.",
    ]
    for one in SHARED:
        names, about = one.row
        lines += [".TP", f"\\fB{roff(names)}\\fR", roff(about)]
    lines.append(".SH COMMANDS")
    commands = dict(all_commands(root))
    for title, words in SECTIONS.items():
        lines.append(f".SS {title}")
        for word in words:
            for path, command in commands.items():
                if path.split()[1] == word:
                    lines += manual_lines(path, command)
    return "\n".join([*lines, *epilog_lines(root), ""])


def all_commands(root: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Every visible command, those of the own hub included."""
    from parler.cli.hub import app as own_hub

    for path, command in walk("parler", root):
        yield path, command
        if path == "parler hub":
            yield from walk(path, typer.main.get_command(own_hub))


def manual_lines(path: str, command: click.Command) -> list[str]:
    """One command with what it takes."""
    context = click.Context(command, info_name=path)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [".TP", f"\\fB{roff(path)}\\fR {roff(usage)}"]
    for index, paragraph in enumerate((command.help or "").split("\n\n")):
        lines += [".IP"] if index else []
        lines.append(roff(" ".join(paragraph.split())))
    rows = [row for one in command.params if (row := row_of(one, context))]
    if rows:
        lines.append(".RS")
        for names, about in rows:
            lines += [".TP", f"\\fB{roff(names)}\\fR", roff(about)]
        lines.append(".RE")
    return lines


def row_of(one: click.Parameter, context: click.Context) -> Any:
    """An argument or option as help has it, None for what all commands have."""
    return None if one.name in COMMON else one.get_help_record(context)


def epilog_lines(root: click.Command) -> Iterator[str]:
    """The exit statuses and the variables."""
    for section in (root.epilog or "").split("\b\n"):
        title, _, rest = section.strip().partition("\n")
        if not title.endswith(":"):
            continue
        yield f".SH {title.rstrip(':').upper()}"
        for line in rest.splitlines():
            word, _, about = line.strip().partition("  ")
            yield from (
                (".TP", f"\\fB{roff(word)}\\fR", roff(about))
                if about
                else (roff(word),)
            )


def roff(text: str) -> str:
    """Text that stays text."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    plain = "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in plain)
    return _STARTS_A_MACRO.sub(r"\\&", plain)


def plain(text: str | None) -> str:
    """Help text as Markdown: click's marks for fixed lines become indents."""
    paragraphs = (text or "").strip().split("\n\n")
    shown = []
    for paragraph in paragraphs:
        if paragraph.startswith("\b"):
            lines = paragraph.removeprefix("\b").strip("\n").split("\n")
            shown.append("\n".join(f"    {line.strip()}" for line in lines))
        else:
            shown.append(" ".join(paragraph.split()))
    return "\n\n".join(shown)


def cell(text: str) -> str:
    """Text that stays inside its table cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
