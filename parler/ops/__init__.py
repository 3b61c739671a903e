"""What an agent can do, one module per capability: parameters, result, one function.

Nothing here prints, prompts, or knows a command line. Results are msgspec Structs in
the spelling of the wire: they are what ``--json`` shows.
"""
