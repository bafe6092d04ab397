"""How `make docs` builds these pages into a site that opens offline."""

from importlib import metadata
from pathlib import Path

from pesloss.report.site import write_pages

project = "pesloss"
author = "the authors of pesloss"
release = metadata.version("pesloss")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_generated/answers.md"]
html_theme = "furo"
html_title = "pesloss"
html_show_sphinx = False
napoleon_google_docstring = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
copybutton_exclude = ".linenos, .gp"

write_pages(Path(__file__).parents[1], Path(__file__).parent / "_generated")
