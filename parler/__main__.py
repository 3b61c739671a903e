"""Entry of the command `parler` and of ``python -m parler``."""

import sys


def main() -> int:
    """Carry out the command line; returns the exit status."""
    if sys.argv[1:2] == ["hook"]:  # apps wait for it, often: no command tree
        from parler.hooks import main as hook

        return hook(sys.argv[2:])
    if sys.argv[1:2] == ["mcp"]:  # so do they for its first answer
        from parler.mcp_server.main import main as mcp

        if (status := mcp(sys.argv[2:])) is not None:
            return status
    if sys.argv[1:] in (["--version"], ["-V"]):
        from parler.cli.render import show_version

        return show_version()
    from parler.cli.app import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
