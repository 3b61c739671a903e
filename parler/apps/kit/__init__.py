"""What an app is declared with."""
