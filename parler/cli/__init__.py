"""The command line: typer commands over `parler.ops`, and how results are shown."""
