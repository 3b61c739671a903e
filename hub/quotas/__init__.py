"""What a hub has to share, and how much of it each address, agent and room may take."""
