# `make demo` and `make test` need Python 3.10 or newer and nothing else; they make their own virtual environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The package is installed as users install it, not editable: a .pth file belongs to it. Changed, new, moved and
# deleted files reinstall it, whether git knows them or not.
SOURCES := $(shell find otel_distro collector backends grafana -name __pycache__ -prune -o -print) pyproject.toml otel_distro.pth docker-compose.yml docker-compose.auditd.yml

.PHONY: demo test test-fast coverage test-other test-train test-stack build-stack bench check secrets clean

# The demo has an environment of its own with what a user would have: the package, the shop, its instrumentations.
demo: .venv-demo/.ready
	.venv-demo/bin/otel-distro local --name demo -- .venv-demo/bin/python -m demo --quiet

.venv-demo/.ready: $(SOURCES) demo/requirements.txt
	test -x .venv-demo/bin/python || $(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	.venv-demo/bin/python -m pip install --quiet . -r demo/requirements.txt
	.venv-demo/bin/python -m pip install --quiet --force-reinstall --no-deps .
	.venv-demo/bin/otel-distro bootstrap
	touch $@

$(VENV)/.ready: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet . --group dev
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps .
	touch $@

# Three at a time, whole files each: most tests wait for a program they started.
test: $(VENV)/.ready
	$(BIN)/python -m pytest -n 3 --dist loadfile tests/unit tests/local tests/demo tests/e2e tests/contract $(ARGS)

# Under a minute: the unit tests that start no process and generate no examples.
test-fast: $(VENV)/.ready
	$(BIN)/python -m pytest -q -n auto --dist loadfile -m "not process and not hypothesis and not slow" tests/unit $(ARGS)

# Which lines the unit tests run, shown and not gated; lines that run in child processes only are not counted.
# The deselected test measures free stack frames, and the tracer of coverage uses some.
coverage: $(VENV)/.ready
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --cov=otel_distro --cov-report=term:skip-covered tests/unit \
		--deselect tests/unit/export/encode/test_hostile.py::test_caller_near_recursion_limit_encodes_in_a_thread $(ARGS)

# What depends on the version of Python, for CI: how a process starts, forks and ends, and what the instrumentors patch.
test-other: $(VENV)/.ready
	$(BIN)/python -m pytest -q -n 3 --dist loadfile tests/unit/test_boot.py tests/unit/_runtime tests/unit/instrumentation tests/unit/errors \
		tests/unit/export/test_lifecycle.py tests/unit/export/test_pipeline.py \
		tests/e2e/test_script.py tests/e2e/test_processes.py tests/e2e/test_unprepared.py $(ARGS)

# The unit and e2e rings on one end of the range of OpenTelemetry releases: TRAIN=oldest, or newest that resolves today.
TRAIN ?= newest
LIMIT_oldest := opentelemetry-api<1.45
LIMIT_newest := opentelemetry-api
test-train: .venv-$(TRAIN)/.ready
	.venv-$(TRAIN)/bin/python -m pip list --disable-pip-version-check | grep -E '^opentelemetry-(api|instrumentation) '
	.venv-$(TRAIN)/bin/python -m pytest -q -n 3 --dist loadfile tests/unit tests/e2e $(ARGS)

.venv-oldest/.ready .venv-newest/.ready: .venv-%/.ready: $(SOURCES)
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	echo '$(LIMIT_$*)' >$(@D)/constraints.txt
	$(@D)/bin/python -m pip install --quiet --upgrade . --group dev --constraint $(@D)/constraints.txt
	$(@D)/bin/python -m pip install --quiet --force-reinstall --no-deps .
	touch $@

# Builds the real programs on the first run (Go 1.26) and installs the grammars of the queries (npm), then only starts them.
build-stack:
	$(PYTHON) tests/stack/build.py

test-stack: $(VENV)/.ready build-stack
	$(BIN)/python -m pytest tests/stack $(ARGS)

# Costs beside the plain upstream SDK, compared with tests/bench/baseline.json; ARGS=--update stores this run's.
bench: $(VENV)/.ready
	$(BIN)/python -m tests.bench $(ARGS)

check: $(VENV)/.ready
	$(BIN)/python -m tools.check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m grafana --check
	$(BIN)/python -m collector --check

# The password of Grafana's admin, made once. The folder is closed; Grafana's own user must be able to read the file in it.
secrets: secrets/grafana_admin_password
secrets/grafana_admin_password:
	@mkdir -p -m 700 secrets && $(PYTHON) -c "import secrets; print(secrets.token_urlsafe(24), end='')" > $@
	@echo "Grafana: user admin, password in $@"

clean:
	rm -rf .venv .venv-* .demo build dist .mypy_cache .ruff_cache .pytest_cache
