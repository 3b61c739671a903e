"""The bytes of files and bundles, kept by their digest."""
