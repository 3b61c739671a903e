"""All tools: one entry for each. What an entry needs is in the modules beside this."""
