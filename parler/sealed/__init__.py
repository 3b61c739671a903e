"""Sealed rooms: their members read them, the hub that carries them does not.

Below `crypto` nothing here computes, and below `store` nothing here reads or writes a
file; the rest takes what happened and says what it means.
"""
