"""Strangers' words made safe: for a terminal, for people, for models."""
