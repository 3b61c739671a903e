"""Unattended workers: messages of others start a program, while nobody watches.

`selection` says which message starts work and `claims` which worker has it; `task`
carries it out with a program of `runners`, noting each step in `ledger`, within
`budget`. `worker` goes on from one task to the next.
"""
