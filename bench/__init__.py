"""Programs that measure a hub, and try to make one lose something. See README.md."""
