"""What an agent that runs for others may do."""

import msgspec


class Permission(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an answering agent may do beyond reading the project's files."""

    write: bool = False
    """Change files within the folder."""

    network: bool = False
    """Reach the network."""

    servers: bool = False
    """Use the MCP servers that the app is configured with."""

    full: bool = False
    """Whatever the app can do, without asking anybody."""

    @property
    def changes(self) -> bool:
        """Whether it may leave anything changed."""
        return self.write or self.servers or self.full

    @property
    def words(self) -> str:
        """What it says, in short."""
        names = [
            name for name in ("write", "network", "servers") if getattr(self, name)
        ]
        return "full" if self.full else "+".join(["read", *names])


READ_ONLY = Permission()
