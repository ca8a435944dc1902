# longwatch: `make help` lists the targets; demo and test set up everything they need themselves.
SHELL := /bin/bash
VENV := .venv
DEMO_VENV := .cache/demo-venv
BIN := $(VENV)/bin
PYTHON ?= $(BIN)/python
ROOMS := kernels model pipeline
# Tests without real processes and a broker's clock: two at a time do not disturb each other.
IN_PROCESS := $(wildcard tests/benchmarks tests/kernels tests/model tests/pipeline tests/simulator)
export OMP_NUM_THREADS ?= 2

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: ## a small company's logs through the real worker: alerts in under a minute, no broker, no GPU, no torch
	@ops/environment.sh $(DEMO_VENV) ops/locks/cpu.txt
	@$(DEMO_VENV)/bin/longwatch demo

test: install jars browser schemas promtool ## the whole CPU suite, a real Apache Kafka included
	$(if $(TESTS),$(BIN)/pytest -m 'not gpu and not slow' $(TESTS),OMP_NUM_THREADS=1 $(BIN)/pytest -m 'not gpu and not slow' -n 2 $(IN_PROCESS) && \
	  $(BIN)/pytest -m 'not gpu and not slow' $(addprefix --ignore=,$(IN_PROCESS)))

check: install ## format, lint, import rules and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory types

types: install ## mypy --strict over the three rooms
	@mkdir -p .cache/types/longwatch
	@for room in $(ROOMS); do ln -sfn ../../../$$room .cache/types/longwatch/$$room; done
	@for room in $(ROOMS); do MYPYPATH=.cache/types $(BIN)/mypy --explicit-package-bases -p longwatch.$$room || exit 1; done

install: ## the development environment in .venv, from the lock file
	@ops/environment.sh $(VENV) ops/locks/dev.txt editable

jars: ## Apache Kafka's jars for the tests' broker, from Maven coordinates
	@python3 ops/kafka/broker.py fetch

browser: ## Chromium and axe-core for the tests of the pages
	@ops/browser/install.sh

schemas: ## Elastic's published field types, for the tests of alert forms
	@ops/schemas/install.sh

broker: jars ## a local Apache Kafka to play with; prints how to use and stop it
	@python3 ops/kafka/broker.py up

demo-bundle: install ## train the bundle that the demo ships, on the generator's normal days
	$(BIN)/python ops/demo_bundle.py

test-slow: install jars browser schemas ## tests that take minutes
	$(BIN)/pytest -m 'slow and not gpu'

test-ray: ## `backtest --engine ray` on two local workers, in an environment that has Ray (200 MB)
	@ops/environment.sh .cache/ray-venv ops/locks/ray.txt editable
	OMP_NUM_THREADS=1 .cache/ray-venv/bin/pytest tests/pipeline/sharded/test_on_ray.py

chaos-kills: install jars ## kill -9 of two workers at random, KILLS times (1000), from SEED (1); a line of JSON
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m chaos.kills --kills $(or $(KILLS),1000) --seed $(or $(SEED),1)

bench-hdfs: install jars ## HDFS from raw text through a real Kafka, beside the floors; needs the public data (LONGWATCH_DATA)
	PYTHONPATH=tests $(BIN)/python ops/benchmarks/hdfs.py --seeds 0 1 2

bench-memory: install ## peak memory of a 65,536-event window on one CPU thread
	@for events in 16384 32768 65536; do \
	  OMP_NUM_THREADS=1 $(BIN)/python ops/benchmarks/window_memory.py pipeline/demo/bundle --events $$events --whole; done

blocked: install jars ## a sink that takes nothing for SECONDS (600) while records come, from SEED (1); KIND=half_open RATE=1000; a line of JSON
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m chaos.blocked --seconds $(or $(SECONDS),600) --seed $(or $(SEED),1) \
	  --kind $(or $(KIND),half_open) --rate $(or $(RATE),1000)

hostile: install jars ## 100,000 hostile records and batches before a real worker; prints JSON
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m chaos.hostile

soak: install jars ## half an hour at full speed on a real Kafka: does anything grow? Prints JSON
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m chaos.soak --minutes 30

bench-parse: install ## lines a second to template and grouping accuracy, beside Drain3; needs the public data (LONGWATCH_DATA)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --target .cache/bench 'drain3>=0.9.11'
	PYTHONPATH=tests:.cache/bench POLARS_MAX_THREADS=1 $(BIN)/python ops/benchmarks/parse.py

bench-worker: install jars ## a real Kafka to committed alerts: events a second and CPU by stage, then to windows only; JSON lines
	PYTHONPATH=tests OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 $(BIN)/python ops/benchmarks/worker.py --entities 60 2000
	PYTHONPATH=tests OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 $(BIN)/python ops/benchmarks/worker.py --until windows --poll-records 5000 --events 1000000

bench-latency: install jars ## from when a line was due to the commit that holds its outputs, RATE lines a second (10000), open loop
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --target .cache/bench 'hdrhistogram>=0.10'
	PYTHONPATH=tests:.cache/bench OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 $(BIN)/python ops/benchmarks/latency.py --rate $(or $(RATE),10000)

bench-attention: ## attention on a CUDA GPU beside FlexAttention and SDPA; CASES=forward,dense picks; PYTHON has torch and longwatch
	$(PYTHON) ops/benchmarks/attention $(if $(CASES),--cases $(CASES)) --out ops/benchmarks/results/attention.jsonl

bench-long-range: ## incidents with evidence 10 to 60,000 events back, on a CUDA GPU; makes its streams from the public data first
	@mkdir -p .cache
	[ -f .cache/filler.npz ] || $(PYTHON) ops/benchmarks/long_range --filler .cache/filler.npz --write
	$(PYTHON) ops/benchmarks/long_range --filler .cache/filler.npz --seconds 1200 --out ops/benchmarks/results/long-range.jsonl

check-gpu: ## our forward and gradients on a CUDA GPU against float64, no further off than SDPA; and what holds bit by bit
	$(PYTHON) ops/gpu_checks/numerics.py
	$(PYTHON) ops/gpu_checks/numerics.py --portable

sanitize-gpu: ## each kernel once under compute-sanitizer, memcheck and then racecheck
	for tool in memcheck racecheck; do for kernels in "" --portable; do PYTORCH_NO_CUDA_MEMORY_CACHING=1 \
	  compute-sanitizer --tool $$tool --error-exitcode 1 $(PYTHON) ops/gpu_checks/sanitize.py $$kernels || exit 1; \
	  done; done

promtool: ## Prometheus' own checker into .cache/bin, from Debian's package or else from its Go module
	@ops/prometheus/promtool.sh

check-ops: install promtool ## rules, dashboard, units, images and manifests, with every tool there is for them
	$(BIN)/pytest tests/ops

dashboard: install ## write the Grafana dashboard again
	$(BIN)/python ops/grafana/dashboard.py

sbom: install ## bills of materials (CycloneDX) of what the images install, into build/sbom
	ops/sbom.sh build/sbom

docs: install ## the documentation as a site in build/docs, strictly
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
audit: install ## known weaknesses of what is locked, and a CycloneDX bill of materials in build/sbom.json
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --target .cache/audit pip-audit cyclonedx-bom
	@mkdir -p build && PYTHONPATH=.cache/audit $(BIN)/python -m cyclonedx_py requirements ops/locks/cpu.txt -o build/sbom.json
	PYTHONPATH=.cache/audit $(BIN)/python -m pip_audit --strict --progress-spinner off --no-deps --disable-pip -r ops/locks/cpu.txt

lock: install ## write the lock files again from pyproject.toml
	ops/lock.sh

clean: ## remove environments and caches
	rm -rf $(VENV) .cache build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info

.PHONY: help demo test check types install jars browser schemas broker demo-bundle test-slow test-ray chaos-kills blocked hostile soak bench-hdfs \
  bench-memory bench-parse bench-worker bench-latency bench-attention bench-long-range promtool check-ops dashboard sbom docs check-gpu \
  sanitize-gpu audit lock clean
.DEFAULT_GOAL := help
