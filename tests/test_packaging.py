"""A wheel carries the recipes and their groups, and works from any folder."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, unpacked into a folder of its own."""
    out, site = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    return site


def test_recipes_plan_from_any_folder(installed: Path, tmp_path: Path) -> None:
    program = "import magpie_align; print(magpie_align.__file__); from magpie_align.cli import main; main(['plan', 'recipe=dpo_100k'])"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(installed))
    assert re.match(r"(\d+) stages, 0 done, \1 to run", done.stdout.splitlines()[-1])


def test_the_papers_rows_are_in_it(installed: Path, tmp_path: Path) -> None:
    program = "from magpie_align.evaluation.published import FILE, published_rows; print(FILE, len(published_rows()))"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    file, rows = done.stdout.split()
    assert file.startswith(str(installed)) and int(rows) > 200


def test_its_batch_scripts_are_in_it(installed: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "magpie_align", "submit", "recipe=sft_300k", "launcher=slurm", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'scontrol requeue "$SLURM_JOB_ID"' in done.stdout and done.stdout.splitlines()[-1].startswith(
        "job_report=$(sbatch"
    )


def test_a_run_from_it_finds_its_own_package(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/own.yaml").write_text(
        "defaults: [base, _self_]\nname: own\nstages:\n  data: {use: mini_public, rows: 5}\n"
    )
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "magpie_align", "recipe=own"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("store/mini_public-*/data/part-000000.parquet"))) == 1


def test_the_page_of_a_run_is_in_it(installed: Path) -> None:
    assets = {file.name for file in (installed / "magpie_align/report/html/assets").iterdir()}
    assert {"report.html.j2", "report.css", "6_main.js"} <= assets
