# `make test` and `make book` are all there is to know: each sets up .venv from nothing and does its job.
PYTHON ?= python3
BIN := .venv/bin
# The stamp carries a checksum of what is installed, so a changed pin installs again and nothing else does.
STAMP := .venv/installed-$(firstword $(shell cat requirements*.txt pyproject.toml | cksum))
# One thread: the matrices are small, two threads are slower (beside another process five times), and sums come out the
# same whatever the number of cores.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
# Empty is off: what one of the dozens of interpreters has compiled the others read, also where images switch that off.
export PYTHONDONTWRITEBYTECODE :=
EDITION := isonum-$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
CHAPTERS := $(basename $(notdir $(wildcard book/*.md)))

.PHONY: test book notebooks elsewhere float pdf neurolibre archive gpu serve clean $(CHAPTERS:%=run-%)

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist worksteal

book: $(STAMP)
	$(BIN)/jupyter-book build . -W -n --keep-going --quiet

# One chapter as an executed notebook beside its source, a line for each cell: make run-isotropy
$(CHAPTERS:%=run-%): run-%: $(STAMP)
	PYTHONPATH=book/_ext $(BIN)/python -m isobook.rerun book/$*.md

# What readers open elsewhere: the notebooks as a branch of their own (Colab, Binder), and on the site the wheel that the
# notebooks install. The workflow `book` pushes the branch.
notebooks: book
	rm -rf build && $(BIN)/python -m pip wheel --quiet --no-deps -w _build/html . && rm -rf build
	PYTHONPATH=book/_ext $(BIN)/python -c "import isobook.elsewhere as e; e.lay_out('_build/html', '_build/notebooks')"

# Those notebooks as Binder runs them: an environment of what .binder/ names, a folder that holds nothing.
ELSEWHERE ?= _build/notebooks/*.ipynb
elsewhere: notebooks
	test -x _build/elsewhere/bin/python || $(PYTHON) -m venv _build/elsewhere
	cd _build/notebooks && ../elsewhere/bin/python -m pip install --quiet --disable-pip-version-check \
	  -r .binder/requirements.txt nbclient ipykernel && PATH=$(CURDIR)/_build/elsewhere/bin:$$PATH sh .binder/postBuild
	_build/elsewhere/bin/python -I book/_ext/isobook/empty_folder.py $(ELSEWHERE)

# The tests with the newest versions of what the core needs, in an environment of its own; what passed leaves its date.
float:
	test -x _build/float/bin/python || $(PYTHON) -m venv _build/float
	_build/float/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -e .
	_build/float/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-nodeps.txt
	_build/float/bin/python -m pip install --quiet --disable-pip-version-check --upgrade \
	  $$(PYTHONPATH=book/_ext _build/float/bin/python -c "from isobook.last_ran import libraries; print(*libraries())")
	_build/float/bin/python -m pytest -n auto --dist worksteal -m "not site and not gpu"
	PYTHONPATH=book/_ext _build/float/bin/python -c "import isobook.last_ran as l; l.write('last-ran.json')"

# The book on paper: one PDF, printed by Chromium (the system's, or the one of `.venv/bin/playwright install chromium`).
pdf: book
	PYTHONPATH=book/_ext $(BIN)/python -m isobook.paper _build/html _build/$(EDITION).pdf

# The repository as NeuroLibre asks for it: content/, binder/, paper.md.
neurolibre: $(STAMP)
	PYTHONPATH=book/_ext $(BIN)/python -m isobook.neurolibre _build/neurolibre

# The edition as two files that carry its number: what a release keeps.
archive: book
	git archive --format=zip --prefix=$(EDITION)/ -o _build/$(EDITION)-source.zip HEAD
	rm -rf _build/$(EDITION) && cp -r _build/html _build/$(EDITION)
	cd _build && ../$(BIN)/python -m zipfile -c $(EDITION)-site.zip $(EDITION) && rm -rf $(EDITION)
	@echo "_build/$(EDITION)-source.zip and _build/$(EDITION)-site.zip"

# On a machine with a GPU, its own PyTorch (2.6 or later) and no network: first its tests, then the gpu profile of the
# studies that train, each for as many minutes as it is given. What a piece leaves the next `make gpu` goes on with;
# the tables of book/results are then committed. Two pieces of the second edition: make gpu GPU_STUDIES="families trunks"
GPU_STUDIES ?= families trunks convergence
GPU_MINUTES ?= 4
GPU_WORKERS ?= 8
gpu:
	$(PYTHON) -m pytest -q -m gpu tests/test_rehearsal.py
	for study in $(GPU_STUDIES); do \
	  $(PYTHON) -m isonum_core run $$study --profile gpu --device cuda --workers $(GPU_WORKERS) --minutes $(GPU_MINUTES); \
	done

serve: book
	$(BIN)/python -m http.server --directory _build/html --bind 127.0.0.1 8000

clean:
	rm -rf _build .pytest_cache .hypothesis book/*.ipynb

$(STAMP): requirements.txt requirements-nodeps.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-nodeps.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	rm -f .venv/installed-*
	touch $@
