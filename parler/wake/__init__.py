"""Bringing waiting mail to the model of a running app."""
