"""VS Code and its kin."""
