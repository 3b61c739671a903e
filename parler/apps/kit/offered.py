"""The tools that an app is shown at its start, as far as its rules have to name them.

Some apps warn of every rule that names a tool which is not there. What is offered is
decided where the tools are declared; a test holds the two equal.
"""

OFFERED_TOOLS = frozenset(
    {
        "parler_open_session",
        "parler_join_session",
        "parler_approve_join",
        "parler_session",
        "parler_send",
        "parler_recv",
        "parler_handoff",
        "parler_push",
        "parler_apply",
        "parler_remember",
        "parler_recall",
        "parler_peers",
        "parler_ask",
        "parler_ask_user",
    }
)
