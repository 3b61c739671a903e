"""Next steps as a model can take them: tools in the place of shell commands.

Operations name commands, which a person can run. Where the model was offered a tool
that does the same, that is named; what is only for a person stays a command.
"""

import re
from functools import cache

import msgspec

from parler.mcp_server.tools.registry import ALL, BY_NAME
from parler.ops.capability import Capability

_BESIDE = {
    "rooms": "parler_session",
    "session list": "parler_session",
    "session use": "parler_session action=use",
    "session leave": "parler_session action=leave",
    "roster": "parler_session action=members",
    "discover": "parler_peers scope=hub",
    "recv --all": "parler_recv since=0",
    "history": "parler_recv since=0",
    "send-file": "parler_push",
    "fetch": "parler_apply",
}
"""Commands that an offered tool does as well, with the arguments that say so."""

_POSITIONAL = {"send-file": "file", "fetch": "blob", "session use": "room"}
"""What their first word is to that tool."""

_STDIN = re.compile(r",? or parler [a-z-]+(?: [A-Z]+)* -(?=$|[,;])")
_WORD = re.compile(r""" (--?[a-z][a-z-]*|"[^"]*"|'[^']*'|[^\s,;:`]+)""")
_BARE = re.compile(r"--([a-z][a-z-]*)(?: (?=[A-Z]))?")
_PROSE = re.compile(  # of what follows a command and is no word of it
    "and|at|by|in|lists|of|on|or|prints|replaces|says|shows|so|then|to|which|with|without"
)


def for_model(step: str, *, full: bool) -> str:
    """A next step with the tools that are offered in it.

    Args:
        full: All of them are.
    """
    commands = _commands(full)
    named = "|".join(sorted(map(re.escape, commands), key=len, reverse=True))
    command = re.compile(rf"\bparler ({named})(?![a-z-])")
    if not command.search(step):
        return step
    step = _STDIN.sub("", step)
    said: list[str] = []
    at = 0
    for match in command.finditer(step):
        done = _call(step, match.end(), match[1], commands[match[1]])
        if done is None or match.start() < at:
            continue
        call, end = done
        said += [_BARE.sub(_bare, step[at : match.start()]), call]
        at = end
    rest = step[at:]
    return "".join([*said, _BARE.sub(_bare, rest) if said else rest])


def _bare(option: re.Match[str]) -> str:
    """An option that is spoken of, as an argument."""
    return option[1] + ("=" if option[0].endswith(" ") else "")


@cache
def _commands(full: bool) -> dict[str, str]:
    """By which offered tool a command is done."""
    offered = {one.name for one in ALL if full or one.capability.common}
    beside = {
        command: call for command, call in _BESIDE.items() if call.split()[0] in offered
    }
    own = {
        one.capability.command: one.name
        for one in ALL
        if one.capability.command and one.name in offered
    }
    return beside | own


def _call(step: str, at: int, command: str, call: str) -> tuple[str, int] | None:
    """A call in the place of a command, and where its words end.

    Returns:
        None if the tool does not take what the command is given.
    """
    tool = BY_NAME[call.split()[0]]
    taken = {one.encode_name for one in msgspec.structs.fields(tool.args)}
    options = {f"--{name.replace('_', '-')}": name for name in taken}
    for one in tool.capability.params:
        name = one.param.argument or one.name
        options |= {word: name for word in one.param.option.split() if name in taken}
    names = (
        [_POSITIONAL[command]] if command in _POSITIONAL else _words(tool.capability)
    )
    while (word := _WORD.match(step, at)) is not None:
        if word[1].startswith("-") and len(word[1]) > 1:
            value = _WORD.match(step, word.end())
            if word[1] not in options or value is None:
                return None
            call += f" {options[word[1]]}={value[1]}"
            at = value.end()
        elif names and not _PROSE.fullmatch(word[1]):
            call += f" {names.pop(0)}={word[1]}"
            at = word.end()
        else:
            break
    return call, at


def _words(capability: Capability) -> list[str]:
    """What the words after a command are, as its tool calls them."""
    given = [one for one in capability.params if one.param.on_tool]
    return [
        one.param.argument or one.name
        for one in given
        if one.param.positional or one.param.words
    ]
