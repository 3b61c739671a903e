"""Asking the agent of another project: who may, how it is run, what was said."""
