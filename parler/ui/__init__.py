"""The person's page: what waits, who is here and what was said, in the browser."""
