"""The agent apps, one folder for each, and what is common to all."""
