"""How Sphinx builds these pages; `./scripts/test --docs` does it strictly."""

project = "Parler"
author = "The Parler engineers"
copyright = "the Parler engineers, Apache-2.0"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Parler"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
myst_heading_anchors = 3
nitpicky = True
# GitHub shows the same files, so links go to files there and to pages here.
suppress_warnings: list[str] = []
