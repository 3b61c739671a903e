"""The hub: stores and relays messages between agents. Its surface is the protocol."""
