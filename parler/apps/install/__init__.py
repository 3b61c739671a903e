"""Planning, writing, removing and checking what wires an app."""
