"""Every script that `submit` would send is taken by a cluster of H100 nodes, and by shellcheck."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.slurm.conftest import Desk

pytestmark = pytest.mark.slurm

H100 = ["launcher=slurm", "launcher.partition=h100", "launcher.gpu_type=h100"]
SERVED = [
    "stages.instructions.engine={kind: openai, endpoint: {base_url: 'http://127.0.0.1:8000/v1'}}",
    "launcher.stages={instructions: {nodes: 2, gpus: 8, shards: 1, serve: [meta-llama/Llama-3.1-405B-Instruct, --tensor-parallel-size, '8', --pipeline-parallel-size, '2']}}",
]


def scripts(desk: Desk, *words: str) -> list[Path]:
    """The scripts of a dry run, as files."""
    said = desk.ok("submit", *words, "--dry-run")
    found = re.findall(r"^### (\S+)\n(#!/bin/bash\n.*?)(?=^### )", said, re.M | re.S)
    files = [desk.folder / Path(name).name for name, _ in found]
    for file, (_, text) in zip(files, found, strict=True):
        file.write_text(text)
    return files


@pytest.mark.parametrize(
    "words",
    [
        ["recipe=sft_300k"],
        ["recipe=dpo_100k", "launcher.setup=[module load cuda]", "launcher.local_scratch=/scratch", "launcher.shared_scratch=/shared"],
        ["recipe=pro_1m", "launcher.container=[apptainer, exec, --nv, /shared/my image.sif]", *SERVED],
        ["recipe=sft_300k", "launcher.srun=['--container-image=/shared/magpie.sqsh']", "launcher.options=[--exclusive]"],
        ["recipe=sft_300k", "launcher.stages={sft: {nodes: 4, time: '12:00:00'}}"],
    ],
    ids=["plain", "modules", "served", "container", "nodes"],
)  # fmt: skip
def test_taken_by_slurm_and_shellcheck(desk: Desk, words: list[str]) -> None:
    files = scripts(desk, words[0], *H100, *words[1:])
    assert len(files) >= 3
    checked = subprocess.run(["shellcheck", *files], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    for file in files:
        command = ["sbatch", "--test-only", str(file)]
        tested = subprocess.run(command, env=desk.cluster.environment, capture_output=True, text=True)
        assert tested.returncode == 0, f"{file.name}: {tested.stderr}\n{file.read_text()}"


def test_the_check_can_fail(desk: Desk) -> None:
    """More GPUs than a node has, and an unquoted variable, are refused."""
    (file, *_) = scripts(desk, "recipe=sft_300k", *H100, "launcher.gpus=16")
    command = ["sbatch", "--test-only", str(file)]
    tested = subprocess.run(command, env=desk.cluster.environment, capture_output=True, text=True)
    assert tested.returncode == 1 and "node configuration is not available" in tested.stderr
    file.write_text(
        file.read_text().replace('touch "$MAGPIE_LEAVE"', "touch $MAGPIE_LEAVE").replace("trap '", 'trap "')
    )
    assert subprocess.run(["shellcheck", file], capture_output=True).returncode == 1


def test_the_commands_are_a_shell_program(desk: Desk) -> None:
    said = desk.ok("submit", "recipe=sft_300k", *H100, "--dry-run")
    commands = said[said.index("### commands") :]
    assert (
        "job_instructions=$(sbatch --parsable --dependency=afterok:$job_instructions_shards --kill-on-invalid-dep=yes"
        in commands
    )
    assert subprocess.run(["bash", "-n"], input=commands, text=True).returncode == 0
    assert not (desk.folder / "runs").exists() and not (desk.folder / "store").exists()
