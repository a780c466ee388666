# make demo      shows what nano, the model in the package, does
# make test      linter, types, tests
# make clients   clients that others wrote, on a real server
# Each sets up .venv first, and again only after pyproject.toml, constraints.txt or the C++ kernels changed.

PYTHON ?= python3
KERNELS := setup.py gemcut/kernels/processors.py $(wildcard gemcut/kernels/*.cpp gemcut/kernels/*.h)
.PHONY: demo test clients

demo: .venv/installed
	@.venv/bin/python examples/demo.py

test: .venv/installed-for-tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	OMP_NUM_THREADS=1 .venv/bin/pytest --numprocesses=auto --dist=loadfile

clients: .venv/installed-for-tests build/clients/agents/installed build/clients/crewai/installed
	GEMCUT_CLIENTS=build/clients .venv/bin/pytest tests/clients

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: gemcut needs Python 3.11 or newer; try: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# pip's remarks are shown only when it fails
.venv/installed: pyproject.toml constraints.txt $(KERNELS) | .venv/bin/python
	@echo "installing into .venv (the first time takes minutes: torch is large)"
	@.venv/bin/python -m pip install --quiet -c constraints.txt -e . >.venv/pip.log 2>&1 || { cat .venv/pip.log; exit 1; }
	@touch $@

.venv/installed-for-tests: pyproject.toml constraints.txt $(KERNELS) | .venv/bin/python
	@echo "installing into .venv, with what the tests need (the first time takes minutes: torch is large)"
	@.venv/bin/python -m pip install --quiet -c constraints.txt -e '.[test]' >.venv/pip.log 2>&1 || { cat .venv/pip.log; exit 1; }
	@touch .venv/installed $@

# virtual environments of clients that quarrel with .venv and with each other; the lists are whole
build/clients/%/installed: tests/clients/%.txt | .venv/bin/python
	@echo "installing $< into $(@D)"
	@.venv/bin/python -m venv --clear --without-pip $(@D)
	@.venv/bin/python -m pip --python $(@D)/bin/python install --quiet --no-deps --no-compile -r $< >$(@D)/pip.log 2>&1 || \
		{ cat $(@D)/pip.log; exit 1; }
	@touch $@
