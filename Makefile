# make run     set everything up and run the default combination (ARGS='--seed 1' is handed on)
# make test    set everything up and run the tests (ARGS='-k registry' is handed on)
# make site    set everything up and make the documentation (site/index.html) and the page of the leaderboards
#              (leaderboards/site/index.html); both open from disk, the search of the documentation needs a server

BIN := .venv/bin
# Broken links are errors; what the theme says about its own future is left out.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
ARGS ?=
WORKERS ?= 2

.PHONY: setup run test coverage lint docs docs-check site wheels wheels-check release

setup:
	@./setup.sh

run: setup
	$(BIN)/golfbench run $(ARGS)

# Each test process gets one thread, or the workers would wait for each other.
test: export OMP_NUM_THREADS = 1
test: export MKL_NUM_THREADS = 1
test: export OPENBLAS_NUM_THREADS = 1
test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

# The tests, and which lines none of them reaches; slower than `make test`.
coverage: export OMP_NUM_THREADS = 1
coverage: export MKL_NUM_THREADS = 1
coverage: export OPENBLAS_NUM_THREADS = 1
coverage: setup
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(ARGS); $(BIN)/coverage combine --quiet; $(BIN)/coverage report

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup
	$(BIN)/python docs/generate_cli.py
	$(BIN)/python docs/generate_reference.py
	$(BIN)/python docs/generate_tables.py
	$(BIN)/golfbench leaderboard build

docs-check: setup
	$(BIN)/python docs/generate_cli.py --check
	$(BIN)/python docs/generate_reference.py --check
	$(BIN)/python docs/generate_tables.py --check
	$(BIN)/golfbench leaderboard build --check
	$(BIN)/golfbench leaderboard check $(wildcard leaderboards/*/*_*.json)
	$(MKDOCS) --site-dir build/site

site: setup
	$(MKDOCS)
	$(BIN)/golfbench leaderboard build --site leaderboards/site

wheels: setup
	rm -f dist/*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist . $(dir $(wildcard plugins/*/pyproject.toml datasets/pyproject.toml))
	@ls dist/*.whl

# The wheels alone, in a clean environment: see .ci/wheels.
wheels-check: wheels
	.ci/wheels $(ARGS)

# make release                  check that all parts are of one version
# make release VERSION=0.2.0    write it into all of them first; nothing is tagged or pushed
release: setup
	$(BIN)/python .ci/release.py $(VERSION)
