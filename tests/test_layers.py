"""Imports run one way (the contracts stand in pyproject.toml), and heavy libraries stay in their adapters."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_imports_run_one_way() -> None:
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_module_but_the_adapters_imports_without_the_heavy_libraries() -> None:
    """Recipes, flow, engines' protocol and every stage module can be imported where only planning is wanted."""
    program = (
        "import sys, pkgutil, importlib\n"
        "for package in ('magpie_align.flow', 'magpie_align.stages', 'magpie_align.pricing'):\n"
        "    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):\n"
        "        importlib.import_module(f'{package}.{module.name}') if module.name != 'table' else None\n"
        "import magpie_align.recipe, magpie_align.cli, magpie_align.engines\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'vllm', 'trl', 'transformers', 'datasets', 'lm_eval', 'duckdb', 'faiss', 'sentence_transformers', 'sklearn', 'scipy'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
