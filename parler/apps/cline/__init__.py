"""Cline, in VS Code and as a CLI."""
