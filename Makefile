VENV := .venv
BIN := $(VENV)/bin

types: ## mypy --strict over the three rooms
	@mkdir -p .cache/types/longwatch
	@for room in kernels model pipeline; do ln -sfn ../../../$$room .cache/types/longwatch/$$room; done
	@for room in kernels model pipeline; do MYPYPATH=.cache/types $(BIN)/mypy --explicit-package-bases -p longwatch.$$room || exit 1; done
.PHONY: types
