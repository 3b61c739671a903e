"""Other programs' files: one key changed, every other byte kept."""
