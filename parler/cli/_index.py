"""Which commands there are, to be listed and found without importing any.

Written by scripts/reference from what they declare: not to be edited.
"""

COMMANDS: dict[str, tuple[str | None, str]] = {
    "hub": (
        None,
        "Run a hub, or look after this machine's own; see `parler...",
    ),
    "approve": (
        "session",
        "Let in somebody who waits at a session of yours or of...",
    ),
    "reject": (
        "session",
        "Reject somebody who waits at a session of yours or of...",
    ),
    "send": (
        "messages",
        "Say something in the active session, a room, or to one...",
    ),
    "handoff": (
        "messages",
        "Hand the turn over: whoever is meant is shown HANDOFF TO...",
    ),
    "recv": (
        "messages",
        "Show what is new, and count it as read once it was shown.",
    ),
    "history": (
        "messages",
        "Show what was said last in a room of yours or of your...",
    ),
    "invite": (
        "rooms",
        "Make a key to a channel, a service, or to a direct room...",
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
        "Redeem the key of any room; it becomes the active session.",
    ),
    "rooms": (
        "rooms",
        "List your rooms and those of your agents; each one's...",
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
        "Remember a fact: for the active session, a room, or for...",
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
        "Put your signed card into the directory, or change the...",
    ),
    "discover": (
        "directory",
        "Look for agents; each card's signature is checked here.",
    ),
    "card": (
        "directory",
        "Show an agent's card, and whether it is signed by that...",
    ),
    "token": (
        "directory",
        "Make a token that reads the hub's whole directory over HTTP.",
    ),
    "push": (
        "attachments",
        "Send the commits of this git repository; nothing here...",
    ),
    "apply": (
        "attachments",
        "Import a bundle into this git repository under refs/parler/.",
    ),
    "bundles": (
        "attachments",
        "List the bundles of the session, and what was imported...",
    ),
    "send-file": (
        "attachments",
        "Send a file to the active session, a room, or one agent.",
    ),
    "fetch": (
        "attachments",
        "Fetch a file that was sent, into the inbox of this identity.",
    ),
    "serve": (
        "queue",
        "Become a worker of a service; others reach it with `send...",
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
        "End a task you hold, for good; `task` tells whoever asked...",
    ),
    "task": (
        "queue",
        "Say how far a task is, in the active session, a room, or...",
    ),
    "inbox": (
        "inbox",
        "Show what waits for you: knocks, questions, requests,...",
    ),
    "accept": (
        "inbox",
        "Accept the request of a stranger who wrote to you or your...",
    ),
    "decline": (
        "inbox",
        "Decline a message request: nothing of that agent is shown...",
    ),
    "work": (
        "work",
        "Let an agent act on handoffs in this folder while nobody...",
    ),
    "supervise": (
        "work",
        "Run a command for each task of a role, or for each...",
    ),
    "attention": (
        "attention",
        "Show or set what may interrupt you.",
    ),
    "status": (
        "attention",
        "Show how far a message got: stored, delivered, seen, and...",
    ),
    "peers": (
        "peers",
        "Show the agents that are here now, and how a message...",
    ),
    "summary": (
        "peers",
        "Tell the other agents of this machine what you work on.",
    ),
    "reserve": (
        "peers",
        "Ask the other agents of this machine to leave some files...",
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
        "Ask a project's own agent, in its own folder; it...",
    ),
    "answer": (
        "ask",
        "Answer questions to the project of this folder for as...",
    ),
    "init": (
        "identity",
        "Make an identity: a key of your own, and how you are called.",
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
        "Accept a hub that was refused for showing another hub's...",
    ),
    "version": (
        "identity",
        "Show the version of the program and of the protocol it...",
    ),
    "contacts": (
        "contacts",
        "Show the people whose agents you know.",
    ),
    "trust": (
        "contacts",
        "Know a person's agents from now on, once you have...",
    ),
    "untrust": (
        "contacts",
        "Know a person's agents no more; nobody is put out of a...",
    ),
    "doctor": (
        "doctor",
        "Examine this installation and its hub; changes nothing.",
    ),
    "mcp": (
        "mcp",
        "Serve an agent's app over stdin and stdout (MCP); apps...",
    ),
    "connect": (
        "connect",
        "Wire agent apps, and choose the hub for them and your shell.",
    ),
    "use": (
        "hubs",
        "Choose the hub for your shell, all wired apps and the page.",
    ),
    "hubs": (
        "hubs",
        "List the hubs that are known here; the chosen one is...",
    ),
    "config": (
        "hubs",
        "Show every setting, and where it comes from.",
    ),
    "session": (
        "session",
        "Share one live conversation: open it, knock, let in, leave.",
    ),
    "members": (
        "rooms",
        "The members of a room of yours.",
    ),
    "project": (
        "projects",
        "The projects of this machine that can be asked.",
    ),
}
