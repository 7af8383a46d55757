"""`{results} SLUG`: what the evidence of a system found, from results/SLUG/result.json; nothing is typed by hand."""

import json
import shutil
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]


class Results(SphinxDirective):
    """The honest sentence, the table of figures, the pictures, and how to run it again."""

    required_arguments = 1

    def run(self):
        slug = self.arguments[0]
        folder = ROOT / "results" / slug
        file = folder / "result.json"
        self.env.note_dependency(str(file))
        if not file.exists():
            return self.markdown("The experiment has not been run yet, so nothing is claimed here.")
        result = json.loads(file.read_text(encoding="utf-8"))
        lines = [result["sentence"], ""]
        for figures in _tables(result.get("figures", [])):
            names = list(dict.fromkeys(name for figure in figures for name in figure["ours"]))
            lines += [f"| | {' | '.join(names)} | paper |", "|---|" + "---:|" * len(names) + "---|"]
            for figure in figures:
                cells = [_shown(figure["ours"].get(name)) for name in names]
                unit = f" ({figure['unit']})" if figure.get("unit") else ""
                lines.append(f"| {figure['name']}{unit} | {' | '.join(cells)} | {figure.get('paper', '')} |")
            lines.append("")
        if result.get("figures"):
            lines += [f"Mean ± standard deviation over {len(result.get('seeds', []))} seeds.", ""]
        for picture in result.get("pictures", []):
            target = Path(self.env.app.srcdir) / "_build" / "results" / slug / picture["file"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / picture["file"], target)
            lines += [f"![{picture['caption']}](/_build/results/{slug}/{picture['file']})", "", picture["caption"], ""]
        lines.append(
            f"Run it again: `tokenloom evidence {slug}`; settings, seeds and versions: `results/{slug}/result.json`."
        )
        return self.markdown("\n".join(lines))

    def markdown(self, text):
        node = nodes.container(classes=["results"])
        self.state.nested_parse(text.splitlines(), self.content_offset, node)
        return [node]


def _tables(figures):
    """Figures that share a condition stand in one table."""
    tables = []
    for figure in figures:
        if tables and any(name in known["ours"] for known in tables[-1] for name in figure["ours"]):
            tables[-1].append(figure)
        else:
            tables.append([figure])
    return tables


def _shown(cell):
    if cell is None:
        return ""
    if not isinstance(cell, dict):
        return str(cell)
    return f"{cell['mean']:.3g}" + (f" ± {cell['spread']:.2g}" if cell.get("spread") is not None else "")


def setup(app):
    app.add_directive("results", Results)
    return {"parallel_read_safe": True}
