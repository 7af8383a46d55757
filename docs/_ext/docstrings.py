"""Read the docstrings of this library: Markdown's `code`, and "Returns: a text" on one line."""

import re

_SECTION = re.compile(r"^(Returns|Raises|Yields): (.+)$")
_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)(?=(\w)?)")


def spread(app, what, name, obj, options, lines):
    """Rewrite a docstring into the form that napoleon and docutils know."""
    result = []
    for line in lines:
        if line.lstrip().startswith((">>>", "...")):
            result.append(line)
            continue
        # A letter right after the code (`Block`s) needs an escaped space, which is not shown.
        line = _CODE.sub(lambda match: f"``{match[1]}``" + ("\\ " if match[2] else ""), line)
        if match := _SECTION.match(line):
            section, text = match.groups()
            result += [*([""] if result and result[-1] else []), f"{section}:", f"    {text}"]
        else:
            result.append(line)
    lines[:] = result


def setup(app):
    app.connect("autodoc-process-docstring", spread, priority=400)  # before napoleon
    return {"parallel_read_safe": True}
