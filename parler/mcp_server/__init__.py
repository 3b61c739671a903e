"""The MCP server: what agents' apps start to have their agent in the conversation."""
