"""Bringing messages and events to whoever is connected; all of it in memory."""
