"""What may be wrong with an installation, its apps, and how they are woken."""
