"""An agent that stays connected: hub link, delivery, mailbox, presence, knocks."""
