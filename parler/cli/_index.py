"""Which commands there are, to be listed and found without importing any.

Written by scripts/reference from what they declare: not to be edited.
"""

COMMANDS: dict[str, tuple[str | None, str]] = {
    "hub": (
        None,
        "Run a hub, or look after this machine's own.",
    ),
    "approve": (
        "session",
        "Let in somebody who waits at one of your sessions.",
    ),
    "reject": (
        "session",
        "Reject somebody who waits at one of your sessions.",
    ),
    "verify": (
        "sealing",
        "Check exports of a sealed session, offline.",
    ),
    "send": (
        "messages",
        "Say something in the session, a room, or to one agent.",
    ),
    "handoff": (
        "messages",
        "Hand the turn over; who is meant is shown HANDOFF TO YOU.",
    ),
    "recv": (
        "messages",
        "Show what is new, and count it as read once it was shown.",
    ),
    "history": (
        "messages",
        "Show what was said last in a room, newest at the end.",
    ),
    "invite": (
        "rooms",
        "Make a key to a channel, a service or a direct room.",
    ),
    "invites": (
        "rooms",
        "List the live keys to a room of yours.",
    ),
    "revoke": (
        "rooms",
        "Make a key worthless; who is in stays in.",
    ),
    "join": (
        "rooms",
        "Redeem the key of any room (as `session join` does).",
    ),
    "rooms": (
        "rooms",
        "List your rooms and those of your agents.",
    ),
    "roster": (
        "rooms",
        "List the members of a room and how they are doing.",
    ),
    "delete-room": (
        "rooms",
        "Delete a room of yours with all that is in it.",
    ),
    "remember": (
        "memory",
        "Remember a fact: for the session, a room, or yourself.",
    ),
    "recall": (
        "memory",
        "Find facts: your own, and those of all your rooms.",
    ),
    "forget": (
        "memory",
        "Drop facts that you remembered; those of others stay.",
    ),
    "register": (
        "directory",
        "Put your signed card into the directory, or change it.",
    ),
    "discover": (
        "directory",
        "Look for agents; each card's signature is checked here.",
    ),
    "card": (
        "directory",
        "Show an agent's card, and whether that agent signed it.",
    ),
    "token": (
        "directory",
        "Make a token that reads the hub's directory over HTTP.",
    ),
    "push": (
        "attachments",
        "Send commits of this git repository; nothing here changes.",
    ),
    "apply": (
        "attachments",
        "Import commits that were sent, under refs/parler/.",
    ),
    "bundles": (
        "attachments",
        "List commits that were sent, and what was imported here.",
    ),
    "send-file": (
        "attachments",
        "Send a file to the active session, a room, or one agent.",
    ),
    "fetch": (
        "attachments",
        "Fetch a file that was sent, into your inbox.",
    ),
    "serve": (
        "queue",
        "Become a worker of a service.",
    ),
    "queue": (
        "queue",
        "Show the tasks of a service that nobody holds.",
    ),
    "claim": (
        "queue",
        "Take a task, or hold on to one you have.",
    ),
    "complete": (
        "queue",
        "End a task you hold, for good.",
    ),
    "task": (
        "queue",
        "Say how far a task is.",
    ),
    "inbox": (
        "inbox",
        "Show what waits for you: knocks, questions, messages.",
    ),
    "accept": (
        "inbox",
        "Accept a stranger's request to write to you.",
    ),
    "decline": (
        "inbox",
        "Decline a stranger's request to write to you.",
    ),
    "permit": (
        "inbox",
        "Let an agent use a tool this once, as its app asks you.",
    ),
    "refuse": (
        "inbox",
        "Keep an agent from using a tool, as its app asks you.",
    ),
    "ui": (
        "ui",
        "Open your page in the browser: inbox, agents, rooms live.",
    ),
    "work": (
        "work",
        "Let an agent act on handoffs while nobody watches.",
    ),
    "supervise": (
        "work",
        "Run a command for each task of a role or each message.",
    ),
    "attention": (
        "attention",
        "Show or set what may interrupt you.",
    ),
    "status": (
        "attention",
        "Show how far a message got, and who answered it.",
    ),
    "peers": (
        "peers",
        "Show the agents that are here, and how to reach each.",
    ),
    "summary": (
        "peers",
        "Tell the other agents of this machine what you work on.",
    ),
    "reserve": (
        "peers",
        "Ask the agents of this machine to leave files alone.",
    ),
    "reservations": (
        "peers",
        "Show what is reserved on this machine, and by whom.",
    ),
    "release": (
        "peers",
        "Give up what you reserved.",
    ),
    "ask": (
        "ask",
        "Ask a project's own agent, in its own folder.",
    ),
    "ask-user": (
        "ask",
        "Ask your person, wherever that person is.",
    ),
    "answer": (
        "ask",
        "Answer what an agent asks you.",
    ),
    "init": (
        "identity",
        "Make an identity: your own key, name and role.",
    ),
    "whoami": (
        "identity",
        "Show your id, name, fingerprint, hub and active session.",
    ),
    "presence": (
        "identity",
        "Tell others what you are doing.",
    ),
    "trust-hub": (
        "identity",
        "Accept a hub that showed another hub's challenge.",
    ),
    "version": (
        "identity",
        "Show the version of the program and of its protocol.",
    ),
    "contacts": (
        "contacts",
        "Show the people whose agents you know.",
    ),
    "trust": (
        "contacts",
        "Know a person's agents from now on.",
    ),
    "untrust": (
        "contacts",
        "Know a person's agents no more.",
    ),
    "doctor": (
        "doctor",
        "Examine this installation and its hub; changes nothing.",
    ),
    "mcp": (
        "mcp",
        "Serve an agent app (MCP); apps start it by themselves.",
    ),
    "connect": (
        "connect",
        "Wire agent apps, and choose the hub for them and you.",
    ),
    "use": (
        "hubs",
        "Choose the hub for your shell, all apps and the page.",
    ),
    "hubs": (
        "hubs",
        "List the hubs that are known here.",
    ),
    "config": (
        "hubs",
        "Show every setting, and where it comes from.",
    ),
    "update": (
        "update",
        "Update Parler itself, by the tool that installed it.",
    ),
    "completion": (
        "completion",
        "Print what makes a shell complete Parler's commands.",
    ),
    "session": (
        "session",
        "Share one live conversation: open it, knock, let in, leave.",
    ),
    "members": (
        "rooms",
        "Put a member out of a room of yours; roster lists them.",
    ),
    "devices": (
        "devices",
        "Show the phones that act for you, or remove one.",
    ),
    "project": (
        "projects",
        "The projects of this machine that can be asked.",
    ),
}

WORDS: dict[str, tuple[str, ...]] = {
    "hub": (
        "status",
        "start",
        "stop",
        "logs",
        "install-service",
        "uninstall-service",
        "check",
        "backup",
        "restore",
        "stats",
    ),
    "session": (
        "open",
        "requests",
        "list",
        "use",
        "rename",
        "leave",
        "picture",
        "join",
        "watch",
        "members",
        "remove",
        "rekey",
        "verify",
        "export",
        "admin",
    ),
    "members": ("remove",),
    "devices": (
        "list",
        "remove",
    ),
    "project": (
        "add",
        "discover",
        "list",
        "remove",
        "serve",
        "allow",
        "deny",
        "log",
        "forget-session",
        "remember",
    ),
}
"""What may follow those that are several."""
