"""Agents that act while nobody watches: which message starts work, and the work."""
