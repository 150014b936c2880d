# `make run` and `make test` install what they need by themselves; `make help` lists the rest.

.DEFAULT_GOAL := help
.PHONY: help setup run test check format lint types layers bench test-fresh arm arm-smoke clean

# make run SOURCE=file:/clip.mp4 CONF=my.toml SET="hls.segment=1s log.level=debug"
# make run RTSP=rtsp://user:password@camera/path
# Handed over in the environment, so that the shell takes no character of theirs for its own.
export SOURCE RTSP CONF SET ARGS PYTHON
BIN := .venv/bin

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

setup: ## Install what running needs; leaves .venv/bin/porthole
	@make/setup.sh run

run: setup ## Serve the test pattern, SOURCE=file:/clip.mp4 or RTSP=rtsp://camera/x; CONF=FILE, SET="key=value …" too
	@SOURCE="$${SOURCE:-$$RTSP}"; set --; for pair in $$SET; do set -- "$$@" --set "$$pair"; done; \
	exec $(BIN)/porthole run $${CONF:+-c "$$CONF"} $${SOURCE:+--source "$$SOURCE"} "$$@"

test: ## Install what the tests need and run them; ARGS="-k hls" picks some
	@make/setup.sh test
	@make/test.sh

check: ## Format, lint, types, layers, tests
	@make/setup.sh test
	@$(MAKE) --no-print-directory --keep-going format lint types layers test

format:
	$(BIN)/ruff format --check .

lint:
	$(BIN)/ruff check .

types:
	$(BIN)/mypy

layers:
	$(BIN)/python -m pytest tests/test_layers.py

bench: ## Every script in bench/, one after the other
	@make/setup.sh bench
	@for script in $$(grep -l __main__ bench/*.py); do \
		echo "== $$script"; $(BIN)/python "$$script" || exit; done

test-fresh: ## A fresh clone in a clean Debian root: setup, run, playlist (root, some minutes)
	tests/fresh/run.sh $$ARGS

arm: setup ## Packages and tarballs for 64-bit and 32-bit ARM boards, in dist/
	./build-arm.sh arm64 armhf

arm-smoke: setup ## Build those packages and run them on an emulated processor (root, some minutes)
	tests/arm/run.sh $$ARGS

clean: ## Remove everything that the other targets made
	rm -rf .venv build dist porthole.egg-info appliance/web/vendor .mypy_cache .ruff_cache
	find appliance tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
