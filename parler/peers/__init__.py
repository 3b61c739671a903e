"""Who works on this machine, on what, and which files are spoken for."""
