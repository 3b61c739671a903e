"""An agent that stays connected to a hub, whichever face it has: today an MCP server.

`dialling` opens a client of a hub, `bootstrap` makes of it what operations are given,
`hub_link` keeps it connected. `delivery` and what it is made of (`follower`, `mailbox`,
`shared_spool`, `acknowledger`) bring each message to the model once; `outbox` sends
what was said while the hub was away.
`joining` is our asking to be let into a room, `knocks` others' asking to be let into
ours, `presence` what others see of us.
"""
