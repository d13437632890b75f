"""The site of these pages, for Sphinx: `make docs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import sfvgen_plan

project = "sfvgen-plan"
release = sfvgen_plan.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
napoleon_use_ivar = True
maximum_signature_line_length = 80
html_theme = "furo"
html_static_path, html_css_files = ["_static"], ["site.css"]
html_title = f"{project} {release}"
html_copy_source = html_show_copyright = False
