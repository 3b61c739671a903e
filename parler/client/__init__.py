"""One hub, over connections that come and go.

`connection` keeps one up over a `transport`, by the rules of `protocol`; `client` is
what callers hold. What a hub hands out goes through `messages` first: each author's
signature is checked there, and nobody reads a message that was not.
"""
