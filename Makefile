# The two commands of the README: `make demo` and `make test`. Both set up .venv first and reuse it afterwards: the
# first with what speech needs, the second with PyTorch and all else as well.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SPEAKS := $(VENV)/.speaks
READY := $(VENV)/.ready

.PHONY: demo demo-train test test-all test-portable test-text check docs setup clean
.DELETE_ON_ERROR:

# What pip says is shown only where it fails.
PIP := $(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check
quietly = $(1) >$(VENV)/setup.log 2>&1 || { cat $(VENV)/setup.log; exit 1; }

demo: $(SPEAKS)
	@echo 'zipvoice say "The quick brown fox jumps over the lazy dog." -o fox.wav'
	@$(BIN)/zipvoice say "The quick brown fox jumps over the lazy dog." -o fox.wav
	@echo "That was the small model of the package. Train one of your own, in five minutes: make demo-train"

demo-train: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" bash egs/mini/run.sh

# As many files of tests at a time as there are cores, up to four. A process that dies ends the run: with another in its
# place the run might never end.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --max-worker-restart 0

test: $(READY)
	$(PYTEST) -m "not slow"

test-all: check docs
	$(PYTEST) -m "not browser" --cov=zipvoice --cov-report=
	$(BIN)/python -m pytest -m browser --cov=zipvoice --cov-append --cov-report=term:skip-covered

# The tests as other processors and Pythons run them; its last result stands in CONTRIBUTING.md.
test-portable: $(READY)
	$(BIN)/python tests/portable.py

docs: $(READY)
	$(BIN)/python docs/draw_architecture.py
	$(BIN)/mkdocs build --quiet

# The text part needs no torch: make test-text PYTHONS="py310/bin/python py313/bin/python", environments that have
# pytest hypothesis pypinyin jieba, and piper-phonemize or piper-tts.
PYTHONS ?= $(BIN)/python
TEXT_TESTS := $(patsubst %,tests/test_%.py,token_table tokenizers espeak english chinese reading_zh polyphones markup chunking text_properties)
test-text:
	for python in $(PYTHONS); do PYTHONPATH=. $$python -m pytest -m "not slow" $(TEXT_TESTS) || exit 1; done

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(READY)

# The marks are set last, so a broken-off set-up is done again. The requirements of some are left out: Resemblyzer's compile
# what requirements.txt has ready-made, and replace the standard library's typing module by an old one; DistillMOS asks for
# torchaudio, which it does not use.
$(SPEAKS): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed: make PYTHON=python3.11"; exit 1; }
	@echo "Installing the package into $(VENV), some minutes the first time"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(call quietly,$(PIP) -c requirements.txt -e .)
	@touch $(SPEAKS)

$(READY): $(SPEAKS)
	@echo "Installing what training and tests need into $(VENV), some minutes the first time"
	@$(call quietly,$(PIP) -r requirements.txt)
	@$(call quietly,$(PIP) --no-deps resemblyzer==0.1.4 distillmos==0.9.1 xls-r-sqa==0.1.0)
	@touch $(READY)

clean:
	rm -rf $(VENV) exp egs/*/exp egs/*/data egs/*/results
