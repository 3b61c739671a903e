"""One hub, over connections that come and go."""
