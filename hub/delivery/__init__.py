"""Who hears of what, in memory."""
