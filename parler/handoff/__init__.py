"""Handing over work: git history as bundles, and files.

Whatever comes from a peer is data here: names become paths only in `paths`, git runs
only in `git`, and nothing that came is executed, merged or checked out.
"""
