PYTHON ?= python3
BIN := .venv/bin

.PHONY: run fashion fashion-mnist test test-all check bench fuzz study study-quick wheel chromium clean

run: .venv/.installed-train     ## Train SimCLR on the digits, evaluate, print the tables.
	$(BIN)/ntxent train $(ARGS)

fashion: .venv/.installed-train fashion-mnist   ## The same on Fashion-MNIST, 70,000 real images: ten minutes on two cores.
	$(BIN)/ntxent train --data.source fashion_mnist $(ARGS)

test: .venv/.installed-all chromium fashion-mnist wheel       ## Tests and doctests, then the built wheel outside the checkout.
	$(BIN)/pytest -n auto --dist worksteal -m "not slow" $(ARGS)

test-all: .venv/.installed-all chromium fashion-mnist wheel   ## The same, with the tests that are marked slow.
	$(BIN)/pytest -n auto --dist worksteal $(ARGS)

check: .venv/.installed-all chromium fashion-mnist    ## What each commit must pass.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto --dist worksteal -m "not slow" $(ARGS)

bench: .venv/.installed-train,peers     ## Time and memory beside the other libraries, in one run.
	$(BIN)/python -m benchmarks $(ARGS)

FUZZ_SECONDS ?= 3600

fuzz: .venv/.installed-all      ## Random cases beside the definition, for an hour; what `make test` does for half a minute.
	$(BIN)/python tests/fuzz --seconds $(FUZZ_SECONDS) $(ARGS)

study: .venv/.installed-docs    ## The study of docs/study.md: about half an hour on two cores; stopped, it goes on.
	$(BIN)/python -m study run $(ARGS)
	$(BIN)/python -m study write

study-quick: .venv/.installed-docs      ## Its small grid, in build/study: everything runs, nothing is learnt.
	$(BIN)/python -m study run --quick $(ARGS)
	$(BIN)/python -m study write --quick

# The report's pages are tested in Debian's Chromium; where it is not and cannot be had, pytest says
# which tests it skips, and why.
chromium:
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && echo "installing with apt-get: chromium, in which the report is tested" \
	  && { apt-get install -y -q chromium || { apt-get update -q && apt-get install -y -q chromium; }; }; } \
	  || echo "no chromium: the browser tests of the report will be skipped"

# 60,000 + 10,000 real images (MIT licence); where Debian's package cannot be had, pytest says which
# tests it skips.
fashion-mnist:
	@test -d /usr/share/datasets/fashion-mnist || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && echo "installing with apt-get: dataset-fashion-mnist, real images to train on" \
	  && { apt-get install -y -q dataset-fashion-mnist || { apt-get update -q && apt-get install -y -q dataset-fashion-mnist; }; }; } \
	  || echo "no dataset-fashion-mnist: the tests on real images will be skipped"

# --target puts the wheel in front of the editable install without a second copy of PyTorch.
wheel: .venv/.installed-all
	rm -rf build/wheel && $(BIN)/python -m build --wheel --no-isolation --outdir build/wheel .
	rm -rf build/site && $(BIN)/pip install -q --no-deps --target build/site build/wheel/*.whl
	cd / && PYTHONPATH=$(CURDIR)/build/site $(CURDIR)/$(BIN)/python -c \
	  "import ntxent, torch; assert 'build/site' in ntxent.__file__, ntxent.__file__; \
	   z = torch.eye(4); print('wheel', ntxent.__version__, 'loss', float(ntxent.nt_xent_loss(z, z)))"

# One stamp for each set of extras that a target needs; "all" has the others.
IN_all := PyTorch, the trainer, and all that tests run beside it (JAX, lightly, Playwright, ...): some 190 packages, 7 GB
IN_train := PyTorch, and what trains, evaluates and reports
IN_docs := PyTorch, the trainer, and what draws the pages
IN_train,peers := PyTorch, the trainer, and the libraries that are measured beside this one
SETS := train docs train,peers

.venv/.installed-%: pyproject.toml
	@echo "installing into .venv: ntxent[$*]: $(IN_$*)"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/pip install -q -e ".[$*]"
	touch $@ $(if $(filter all,$*),$(addprefix .venv/.installed-,$(SETS)))

clean:
	rm -rf build dist .venv .pytest_cache .mypy_cache .ruff_cache
