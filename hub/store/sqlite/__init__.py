"""What SQLite alone does."""
