"""Documentation of tokenloom: `make docs` runs every example and builds the pages."""

import sys
from pathlib import Path

import tokenloom

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "tokenloom"
author = "The tokenloom authors"
project_copyright = "The tokenloom authors, Apache-2.0"
release = version = tokenloom.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "docstrings",
    "results",
]
exclude_patterns = ["_build", "_ext"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_use_rtype = False
# Examples in docstrings are run by the tests, where each sees the names of its own module.
doctest_test_doctest_blocks = ""

html_theme = "furo"
html_title = "tokenloom"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#2b5cb3", "color-brand-content": "#2b5cb3"},
    "dark_css_variables": {"color-brand-primary": "#8fb5f5", "color-brand-content": "#8fb5f5"},
}
pygments_style = "friendly"
pygments_dark_style = "monokai"
html_copy_source = False
html_show_sphinx = False
