"""Agents that act while nobody watches."""
