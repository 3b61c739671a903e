"""Who we are: keys, signing, home, settings, the hubs and rooms we know."""
