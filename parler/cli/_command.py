"""What all commands have in common: their shared options, help and example."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any

import typer

from parler.cli._run import Options

_EXAMPLE = "\b\nExample:\n"


@dataclass(frozen=True, slots=True)
class _Shared:
    name: str
    annotation: Any
    default: Any


_SHARED = (
    _Shared(
        "json",
        Annotated[bool, typer.Option("--json", help="Print one line of JSON.")],
        False,
    ),
    _Shared(
        "quiet",
        Annotated[bool, typer.Option("--quiet", "-q", help="No notes on stderr.")],
        False,
    ),
    _Shared(
        "hub",
        Annotated[
            str | None,
            typer.Option("--hub", metavar="URL", help="Use this hub."),
        ],
        None,
    ),
    _Shared(
        "home",
        Annotated[
            str | None,
            typer.Option("--home", metavar="DIR", help="Use the identity kept here."),
        ],
        None,
    ),
    _Shared(
        "insecure",
        Annotated[
            bool,
            typer.Option("--insecure", help="Allow plain ws:// beyond this network."),
        ],
        False,
    ),
)


def group(help_text: str) -> typer.Typer:
    """A typer of ours: plain help, no completion commands, no tracebacks of its own."""
    return typer.Typer(
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def command(
    app: typer.Typer, name: str, *, example: str, hidden: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command. It gets an `Options`, then what it declares itself."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

        @wraps(function)
        def invoke(invocation: typer.Context, **given: Any) -> None:
            shared = {one.name: given.pop(one.name) for one in _SHARED}
            words = invocation.command_path.split()[1:]
            function(Options(command=words[0], **shared), **given)

        invoke.__signature__ = _signature(own)  # type: ignore[attr-defined]
        invoke.__annotations__ = {"invocation": typer.Context}
        lines = "\n".join(f"  {line}" for line in example.splitlines())
        app.command(name, epilog=_EXAMPLE + lines, hidden=hidden)(invoke)
        return function

    return register


def _signature(own: list[inspect.Parameter]) -> inspect.Signature:
    keyword = inspect.Parameter.KEYWORD_ONLY
    context = inspect.Parameter("invocation", keyword, annotation=typer.Context)
    shared = [
        inspect.Parameter(
            one.name, keyword, default=one.default, annotation=one.annotation
        )
        for one in _SHARED
    ]
    mine = [parameter.replace(kind=keyword) for parameter in own]
    return inspect.Signature([context, *mine, *shared])
