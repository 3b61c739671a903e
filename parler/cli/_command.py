"""What all commands have in common: their shared options, help and example."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, get_args, get_origin

import typer

from parler.cli._carry_out import carry_out_declared
from parler.cli._completion import of
from parler.cli._help import SHARED, Command, Group
from parler.cli._parameters import parameter_of, shown_on, taken
from parler.cli._run import Options
from parler.ops.capability import Capability

_EXAMPLE = "\b\nExample:\n"


_SHARED = {
    one.key: (
        Annotated[
            (str | None) if one.metavar else bool,
            typer.Option(*one.names, metavar=one.metavar, help=one.help),
        ],
        None if one.metavar else False,
    )
    for one in SHARED
}
"""Annotation and default of each option that all commands have."""


def group(help_text: str) -> typer.Typer:
    """A typer of ours: plain help, no completion commands, no tracebacks of its own."""
    return typer.Typer(
        cls=Group,
        help=help_text,
        short_help=help_text,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def command(
    app: typer.Typer, capability: Capability
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function the command of a capability.

    It gets an `Options`, then what it names: what the capability declares, and what
    is annotated as an option of this command alone; with `**given`, all the rest.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(function, eval_str=True)
        own = list(signature.parameters.values())[1:]
        _register(app, capability, function, own)
        return function

    return register


def shows(
    app: typer.Typer,
    capability: Capability,
    view: Callable[[Any], str | Iterable[str]],
    *,
    foreign: bool = False,
) -> None:
    """Make the command of a capability that only asks, does, and shows the result.

    Args:
        foreign: Strangers wrote a part of what is shown.
    """

    def show(options: Options, **given: Any) -> None:
        def lines(result: Any) -> Iterable[str]:
            told = view(result)
            return [told] if isinstance(told, str) else told

        carry_out_declared(options, capability, given, lines, foreign=foreign)

    _register(app, capability, show, None)


def alone(app: typer.Typer, function: Callable[[Options], None]) -> None:
    """Let a word that stands for several commands do something by itself."""

    def invoke(invocation: typer.Context, **shared: Any) -> None:
        if invocation.invoked_subcommand is None:
            words = invocation.command_path.split()[1:]
            function(Options(command=words[0], **shared))

    invoke.__signature__ = _signature([])  # type: ignore[attr-defined]
    invoke.__annotations__ = {"invocation": typer.Context}
    app.callback(invoke_without_command=True, no_args_is_help=False)(invoke)


def _register(
    app: typer.Typer,
    capability: Capability,
    function: Callable[..., None],
    own: Sequence[inspect.Parameter] | None,
) -> None:
    declared = shown_on(capability)
    if own is None:
        parameters = [parameter_of(one) for one in declared.values()]
    else:
        parameters = [
            one
            if get_origin(one.annotation) is Annotated
            else parameter_of(declared[one.name])
            for one in own
            if one.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        if len(parameters) < len(own):
            named = {one.name for one in own}
            rest = (one for key, one in declared.items() if key not in named)
            parameters += map(parameter_of, rest)
    for one in parameters:
        info = get_args(one.annotation)[-1]
        if not (info.click_type or info.parser) and (known := of(info.metavar)):
            info.click_type = known
    names = {one.name for one in parameters}
    shown = {key: one for key, one in declared.items() if key in names}

    def invoke(invocation: typer.Context, **given: Any) -> None:
        shared = {name: given.pop(name) for name in _SHARED}
        words = invocation.command_path.split()[1:]
        function(Options(command=words[0], **shared), **taken(shown, given))

    invoke.__signature__ = _signature(parameters)  # type: ignore[attr-defined]
    invoke.__annotations__ = {"invocation": typer.Context}
    example = capability.example or f"parler {capability.command}"
    lines = "\n".join(f"  {line}" for line in example.splitlines())
    app.command(
        capability.command.rpartition(" ")[2],
        cls=Command,
        short_help=capability.about,
        help=f"{capability.about}\n\n{capability.more}".strip(),
        epilog=_EXAMPLE + lines,
        hidden=capability.hidden,
    )(invoke)


def _signature(own: list[inspect.Parameter]) -> inspect.Signature:
    keyword = inspect.Parameter.KEYWORD_ONLY
    context = inspect.Parameter("invocation", keyword, annotation=typer.Context)
    shared = [
        inspect.Parameter(name, keyword, default=default, annotation=annotation)
        for name, (annotation, default) in _SHARED.items()
    ]
    mine = [parameter.replace(kind=keyword) for parameter in own]
    return inspect.Signature([context, *mine, *shared])
