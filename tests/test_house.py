"""Rules of the house that no single file shows: who may import whom, what data may do, what an import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "tokenloom"
FILES = sorted(SOURCE.rglob("*.py"))

FIVE = {"measure", "transfer", "predict", "reduce", "graphs"}  # these do not import each other
BELOW = {"core", "models", "hosts", "tokenize"}
MAY_IMPORT = {
    "core": set(),
    "data": {"core"},
    "testing": {"core"},
    "models": {"core"},
    "hosts": {"core", "models"},
    "tokenize": {"core", "models", "hosts"},  # what a trainer makes, `tokenizers` reads
    **dict.fromkeys(FIVE, BELOW),
    "evidence": BELOW | FIVE | {"data"},
    "app": BELOW | FIVE | {"data", "evidence"},
}


def imported(path):
    """Modules of tokenloom that a file imports anywhere, as tuples of names below `tokenloom`."""
    package = path.relative_to(SOURCE).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            inside = ".".join(("tokenloom", *base, *([node.module] if node.module else [])))
            names = [inside] if node.module else [f"{inside}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            whole = node.module == "tokenloom"
            names = [f"tokenloom.{alias.name}" for alias in node.names] if whole else [node.module]
        else:
            continue
        yield from (tuple(name.split(".")[1:]) for name in names if name.split(".")[0] == "tokenloom")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down_only(path):
    room = path.relative_to(SOURCE).parts[0]
    if room.startswith("_"):  # the package itself: its names are imported when first used
        allowed, own = {"core"}, "_version"
    else:
        allowed, own = MAY_IMPORT[room], room
    for module in imported(path):
        if not module:
            assert room in ("app", "evidence"), f"{path} imports tokenloom whole, which only app and evidence may"
        else:
            assert module[0] in allowed | {own, "_version"}, f"{path} imports tokenloom.{'.'.join(module)}"


FORBIDDEN_MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "runpy",
    "code",
}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
# Where a module is imported by a name in a variable: the name comes from the catalogue or from our own source.
IMPORTERS = {"core/lazy.py", "core/errors.py", "app/evidence.py"}


def ways_to_run_data(path):
    """Places where a file could execute what it reads."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"imports {m}" for m in modules if m.split(".")[0] in FORBIDDEN_MODULES)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called in FORBIDDEN_CALLS:
            yield f"calls {called}"
        if called in ("torch.load", "load_checkpoint") and options.get("weights_only") != "True":
            yield "calls torch.load without weights_only=True"
        if called in ("yaml.load", "yaml.unsafe_load", "yaml.full_load"):
            yield f"calls {called}; yaml.safe_load reads data only"
        if options.get("allow_pickle", "False") != "False":
            yield f"calls {called} with allow_pickle"
        if options.get("trust_remote_code", "False") != "False":
            yield f"calls {called} with trust_remote_code"
        if called.endswith("import_module") and str(path.relative_to(SOURCE).as_posix()) not in IMPORTERS:
            yield "imports a module by a name in a variable"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_executes_what_it_reads(path):
    assert list(ways_to_run_data(path)) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text)",
        "np.load(path, allow_pickle=True)",
        "importlib.import_module(record['kind'])",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_the_search_for_executed_data_finds(code, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    assert len(list(ways_to_run_data(tmp_path / "example.py"))) == 1


HEAVY = ("numpy", "numba", "torch", "tokenizers", "transformers", "pyarrow", "rich", "typer", "scipy", "matplotlib")


@pytest.mark.parametrize(
    "line", ["import tokenloom", "import tokenloom; dir(tokenloom)", "import tokenloom.core.errors"]
)
def test_import_loads_nothing_heavy(line):
    code = f"import sys; {line}; print(*(m for m in {HEAVY} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_import_leaves_environment_and_output_alone():
    code = "import os; before = dict(os.environ); import tokenloom; assert dict(os.environ) == before"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_help_and_papers_need_no_heavy_package():
    code = (
        "import sys; from tokenloom.app.cli import main; sys.argv = ['tokenloom', 'papers', '--json']\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print(*(m for m in {HEAVY[:6]} if m in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
