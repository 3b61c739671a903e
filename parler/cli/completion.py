"""``parler completion``: what a shell needs to complete command lines."""

from typing import Annotated

import click
import typer

from parler.cli import _completion
from parler.cli._command import command
from parler.cli._run import Options
from parler.ops.capability import Capability


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, COMPLETION)(completion)


def completion(
    options: Options,
    shell: Annotated[
        str,
        typer.Argument(
            metavar="bash|zsh|fish",
            help="Your shell.",
            click_type=click.Choice(_completion.SHELLS),
        ),
    ],
) -> None:
    """Print what the shell has to run."""
    text = _completion.script(shell)
    if options.json:
        options.out.result({"script": text}, [])
    else:
        options.out.verbatim(text)


COMPLETION = Capability(
    run=completion,
    about="Print what makes a shell complete Parler's commands.",
    more="For bash and zsh, put the line of the example into ~/.bashrc or ~/.zshrc, in "
    "zsh below compinit; for fish, write it to "
    "~/.config/fish/completions/parler.fish. Completed are commands, options, your "
    "rooms by name or topic, agents, projects and hubs.",
    command="completion",
    example="""\
eval "$(parler completion bash)"
parler completion fish > ~/.config/fish/completions/parler.fish""",
    no_tool="a shell uses it",
)
