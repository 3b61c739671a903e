"""What an agent can do: one module for each area.

Each capability is declared there once, as its parameters, result, function and a
`Capability`; commands, tools and reference pages are made from that.

Nothing here prints, prompts, or knows a command line. Results are msgspec Structs in
the spelling of the wire: they are what ``--json`` shows.
"""
