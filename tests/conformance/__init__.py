"""Checks any hub against the wire protocol, with a client that shares no code."""
