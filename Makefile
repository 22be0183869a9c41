# The commands of llmrec. They need make and Python 3.10 or later; .venv is made when it is absent.
# A stamp in .venv, named after the files below, says that everything they ask for is installed.

PY := .venv/bin/python
KEY := $(shell cat setup.cfg pyproject.toml constraints.txt | cksum | cut -d ' ' -f 1)
JOBS := 2
NAMES := recommend bulk matching metrics import_time
READY_DEMO := .venv/.demo-$(KEY)
READY_TEST := .venv/.test-$(KEY)
READY_ALL := .venv/.all-$(KEY)
export PYTHON
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test check lint test-all bench walkthrough
.NOTPARALLEL:

help:
	@echo 'make demo      install and open the page at http://127.0.0.1:7860 (more: ARGS="--port 7861")'
	@echo 'make test      install and run the tests (more: ARGS="-k titles -x" JOBS=4)'
	@echo 'make check     format, lint and types, then the tests'
	@echo 'make test-all  the slow tests too'
	@echo 'make bench     measure, and write docs/performance.md (other ones: NAMES="search tuning")'
	@echo 'make walkthrough DATA=redial   prepare, tune, evaluate, push, reload: with times'
	@echo 'Another Python: make demo PYTHON=/path/to/python3'

demo: $(READY_DEMO)
	$(PY) app.py $(ARGS)

test: $(READY_TEST)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) --dist loadfile --cov --cov-fail-under=90 $(ARGS)

test-all: $(READY_ALL)
	$(PY) -m pytest -m "" --cov --cov-fail-under=90 $(ARGS)

lint: $(READY_TEST)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

check: lint test

bench: $(READY_TEST)
	$(PY) benchmarks/all.py $(NAMES)

walkthrough: $(READY_TEST)
	$(PY) tests/walkthrough.py --data $(DATA) $(ARGS)

$(READY_DEMO):
	@sh .ci/install -e '.[demo]'
	@rm -f .venv/.demo-* && touch $@

$(READY_TEST):
	@sh .ci/install -e '.[demo,train,test]'
	@rm -f .venv/.test-* && touch $@

# llama.cpp is compiled here, which takes some minutes.
$(READY_ALL):
	@sh .ci/install -e '.[demo,train,gguf,test]'
	@rm -f .venv/.all-* && touch $@
