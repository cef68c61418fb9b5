"""The arrows between folders, and what no file may do."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "pipeline").rglob("*.py")) + sorted((ROOT / "workflows").rglob("*.py"))
STAGE_FOLDERS = (
    "sections",
    "foreground",
    "boundaries",
    "superpixels",
    "graph",
    "features",
    "edges",
    "lifted",
    "multicut",
    "labels",
)
FREE_TO_STAGES = {
    "cells",
    "compiled",
    "contract",
    "corrections",
    "held",
    "intervals",
    "neighbourhoods",
    "subgraphs",
    "tables",
    "grid",
    "errors",
    "mirroring",
    "model_header",
    "normalisation",
    "packaged",
    "forests",
    "backend",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports anywhere, also inside functions.

    ``from a.b import c`` counts as ``a.b.c``: c may be a module.
    """
    package = list(path.relative_to(ROOT).parts[:-1])
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def importers_of(*libraries: str) -> set[str]:
    return {name_of(p) for p in FILES if {i.split(".")[0] for i in imports(p)} & set(libraries)}


def within(names: set[str], *places: str) -> set[str]:
    """Those of ``names`` that lie in none of the places (files, or folders ending in /)."""
    return {
        n for n in names if not any(n == p or (p[-1] == "/" and n.startswith(p)) for p in places)
    }


def test_the_parser_of_imports_sees_all_forms(tmp_path: Path) -> None:
    path = ROOT / "pipeline" / "graph" / "stage.py"
    assert "pipeline.contract.Block" in imports(path)
    assert any(i.startswith("workflows.") for i in imports(ROOT / "pipeline" / "cli" / "run.py"))
    assert len(FILES) > 50


@pytest.mark.parametrize("folder", STAGE_FOLDERS)
def test_stages_import_the_contract_and_never_each_other(folder: str) -> None:
    files = sorted((ROOT / "pipeline" / folder).rglob("*.py"))
    assert files
    for path in files:
        for name in imports(path):
            parts = name.split(".")
            assert parts[0] != "workflows", f"{name_of(path)} imports {name}"
            if parts[0] == "pipeline":
                allowed = len(parts) > 1 and parts[1] in FREE_TO_STAGES | {folder}
                assert allowed, f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("module", sorted(FREE_TO_STAGES - {"forests", "backend"}))
def test_what_stages_share_knows_no_stage(module: str) -> None:
    for name in imports(ROOT / "pipeline" / f"{module}.py"):
        parts = name.split(".")
        if parts[0] == "pipeline" and len(parts) > 1:
            assert parts[1] in FREE_TO_STAGES, f"pipeline/{module}.py imports {name}"


@pytest.mark.parametrize("folder", ["forests", "backend", "store"])
def test_shared_folders_know_no_stage_and_no_workflow(folder: str) -> None:
    for path in sorted((ROOT / "pipeline" / folder).rglob("*.py")):
        for name in imports(path):
            parts = name.split(".")
            assert parts[0] != "workflows", f"{name_of(path)} imports {name}"
            assert parts[0] != "pipeline" or parts[1] not in STAGE_FOLDERS, name_of(path)


def test_only_the_store_knows_zarr() -> None:
    users = importers_of(
        "zarr", "tensorstore", "ome_zarr_models", "numcodecs", "fsspec", "s3fs", "gcsfs", "aiohttp"
    )
    assert users
    assert within(users, "pipeline/store/") == set()


def test_only_two_workflows_know_dask() -> None:
    users = importers_of("dask", "distributed", "dask_jobqueue")
    assert "workflows/executor.py" in users
    assert within(users, "workflows/executor.py", "workflows/cluster.py") == set()


def test_only_the_backend_knows_bioimage_cpp() -> None:
    users = importers_of("bioimage_cpp")
    assert users
    assert within(users, "pipeline/backend/") == set()


def test_only_the_command_line_imports_workflows() -> None:
    users = {n for n in importers_of("workflows") if n.startswith("pipeline/")}
    assert users
    assert within(users, "pipeline/cli/") == set()


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def forbidden(name: str, call: ast.Call) -> bool:
    """Whether a call may execute what a file holds."""
    given = {k.arg: ast.unparse(k.value) for k in call.keywords}
    return (
        name in {"eval", "exec", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "joblib.load"}
        or (name == "torch.load" and given.get("weights_only") != "True")
        or given.get("allow_pickle", "False") != "False"
        or given.get("shell", "False") != "False"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("torch.load(f)", True),
        ("torch.load(f, weights_only=False)", True),
        ("torch.load(f, weights_only=True)", False),
        ("yaml.load(f)", True),
        ("yaml.safe_load(f)", False),
        ("np.load(f, allow_pickle=True)", True),
        ("np.load(f)", False),
    ],
)
def test_what_is_forbidden_is_recognised(text: str, expected: bool) -> None:
    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call)
    assert forbidden(ast.unparse(call.func), call) is expected


def test_nothing_executes_what_a_file_holds() -> None:
    loaders = ("pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "skops")
    assert importers_of(*loaders) == set()
    found = [f"{name_of(p)}: {n}" for p in FILES for n, c in calls(p) if forbidden(n, c)]
    assert found == []


def test_files_are_named_for_their_content() -> None:
    vague = {"utils.py", "util.py", "common.py", "helpers.py", "misc.py"}
    assert [name_of(p) for p in FILES if p.name in vague] == []


def test_every_module_says_what_it_is() -> None:
    assert [name_of(p) for p in FILES if not ast.get_docstring(tree(p))] == []


def test_boundaries_name_no_other_library_than_those_of_a_bare_gpu_node() -> None:
    lean = {"torch", "numpy", "pydantic", "safetensors", "pipeline"}
    # scipy mirrors tissue into padding; it is imported where there is some
    others = {"forests", "backend", "compiled", "mirroring"}
    shared = [ROOT / "pipeline" / f"{m}.py" for m in FREE_TO_STAGES - others]
    for path in (*shared, *(ROOT / "pipeline" / "boundaries").rglob("*.py")):
        libraries = {name.split(".")[0] for name in imports(path)}
        assert libraries - lean <= sys.stdlib_module_names, name_of(path)


LEAN = """
import importlib.abc, sys

REFUSED = set(sys.argv[1].split(","))

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
import pipeline.boundaries, pipeline.boundaries.stage as stage
from pipeline.boundaries import device, model, predict
assert stage.STAGE.name == "boundaries"
ours = [m for m in sys.modules if m.startswith("pipeline")]
assert not [m for m in ours if m.startswith(("pipeline.store", "pipeline.training"))], ours
print("imported", *sorted({m.split(".")[0] for m in sys.modules} & REFUSED))
"""
REFUSED = (
    "bioimage_cpp", "dask", "distributed", "elf", "imagecodecs", "joblib", "matplotlib",
    "ome_zarr_models", "psutil", "rich", "scipy", "skimage", "sklearn", "tensorboard",
    "tensorstore", "tifffile", "typer", "workflows", "yaml", "zarr",
)  # fmt: skip


def test_boundaries_import_with_torch_numpy_pydantic_and_safetensors_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAN, ",".join(REFUSED)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "imported"


def test_compiled_loops_call_none_of_another_file() -> None:
    """Numba's cache on disk watches only the file of the function that is called from Python."""
    users = [p for p in FILES if "pipeline.compiled.compiled" in imports(p)]
    assert users
    for path in users:
        ours = {
            alias.asname or alias.name
            for node in tree(path).body
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline.")
            for alias in node.names
            if alias.name.islower()
        }
        for function in ast.walk(tree(path)):
            if isinstance(function, ast.FunctionDef) and any(
                isinstance(d, ast.Name) and d.id == "compiled" for d in function.decorator_list
            ):
                called = {
                    n.func.id
                    for n in ast.walk(function)
                    if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
                }
                assert not called & ours, f"{name_of(path)}: {function.name} calls {called & ours}"
