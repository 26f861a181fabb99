# Everything runs from a clean clone: each target first installs what it needs.
PYTHON := .venv/bin/python
ROOMS := job_runtime midi_codec beam_pipelines trainer generation_jobs demo midi_lstm benchmarks scripts tests

.DEFAULT_GOAL := help
.PHONY: help setup manifests images run box-model test test-all test-cluster test-engines lint docs bench peers quality lock clean

help:
	@echo "make run              from real music to new music, in ten minutes; then open run/report.html"
	@echo "make run CORPUS=...   the same with your own MIDI files: a folder or a glob"
	@echo "make run QUICK=1      the same steps on little music, in two minutes"
	@echo "make box-model        trains the model in the box again (docs/model_card.md)"
	@echo "make setup            .venv from requirements.lock (the other targets call it)"
	@echo "make test             all tests except the slow ones"
	@echo "make test-all         the slow tests: servers, kills, many processes"
	@echo "make test-cluster     Jobs on a real API server, which it builds with Go first: docs/cluster.md"
	@echo "make test-engines     an encode on a real Flink, which it fetches from PyPI and with Maven: docs/engines.md"
	@echo "make lint             ruff (rules and format), mypy, who may import whom, and the tables of settings in docs/"
	@echo "make docs             the documentation site, in site/; a broken link is an error"
	@echo "make bench            the benchmarks; needs make peers"
	@echo "make peers            .venv-peers, with the libraries that the benchmarks compare with"
	@echo "make quality SET=... DATA=...   trains and evaluates on piano rolls, or resumes: docs/quality.md"
	@echo "make lock             resolves requirements.lock from setup.py"
	@echo "make manifests ENV=../my.env OUT=../deploy   fills k8s/ for a cluster: docs/cluster.md"
	@echo "make images           builds the images of k8s/images; TARGETS, REGISTRY, TAG, BUILDER, BASE, SBOM: docs/platform.md"
	@echo "make clean            deletes .venv, .venv-peers, caches and run/"

setup: .venv/.installed

.venv/.installed: requirements.lock setup.py scripts/make_venv.sh
	@bash scripts/make_venv.sh .venv

# CORPUS is passed through the environment, so that any character of a path survives.
run: export DEMO_CORPUS = $(value CORPUS)
run: setup
	@$(PYTHON) -m demo.run $(if $(filter undefined,$(origin CORPUS)),,--corpus "$$DEMO_CORPUS") \
		$(if $(QUICK),--quick) $(if $(TIME_BASE),--time-base "$(TIME_BASE)")

box-model: setup
	$(PYTHON) -m demo.box_model

# After a crashed worker is replaced, --dist loadfile hangs.
test: setup
	@bash scripts/install_debian.sh
	@bash scripts/install_kubectl.sh
	$(PYTHON) -m pytest -m "not slow" -n 2 --dist loadfile --max-worker-restart 0

test-all: setup
	@bash scripts/install_debian.sh
	@bash scripts/install_kubectl.sh
	$(PYTHON) -m pytest -m slow -n 2 --dist loadfile --max-worker-restart 0

# Not in CI: the first time it compiles Kubernetes.
test-cluster: export KUBERNETES := $(abspath $(or $(KUBERNETES),../kubernetes))
test-cluster: setup
	@bash scripts/install_debian.sh
	@bash scripts/install_kubectl.sh
	@bash scripts/build_kubernetes.sh "$$KUBERNETES"
	$(PYTHON) -m pytest tests/k8s/real/manifests.py tests/k8s/real/rules.py tests/k8s/real/commands.py

# The first time it fetches 400 MB. Flink binds all addresses, so it has a network of its own. With IF_POSSIBLE it is no
# failure if Java, Maven, networks or a package are not to be had.
test-engines: export FLINK := $(abspath $(or $(FLINK),../flink))
test-engines: setup
	@status=0; $(PYTHON) -m tests.engines.flink.programs || status=$$?; \
	if [ $$status = 2 ] && [ -n "$(IF_POSSIBLE)" ]; then \
		echo "make test-engines: not run, because of what is said above"; \
	elif [ $$status != 0 ]; then \
		exit $$status; \
	else \
		unshare --map-root-user --net $(PYTHON) -m pytest --exitfirst -rs --durations 9 \
			tests/engines/flink/prism.py tests/engines/flink/encode.py; \
	fi

# Needs no package. What is not set or wrong in ENV is named, all at once.
manifests:
	@python3 -m scripts.fill_manifests $(if $(ENV),"$(ENV)") $(if $(OUT),--output "$(OUT)")

# Docker or buildah; what is given here is in the script's environment. Takes minutes and gigabytes, so no test calls it.
images:
	@bash scripts/build_images.sh $(TARGETS)

lint: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy $(ROOMS)
	.venv/bin/lint-imports
	$(PYTHON) -m scripts.settings_tables --check

docs: setup
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --quiet

bench: setup
	$(PYTHON) -m benchmarks.encode
	$(PYTHON) -m benchmarks.train
	$(PYTHON) -m benchmarks.feed
	$(PYTHON) -m benchmarks.distribution
	$(PYTHON) -m benchmarks.generate

peers: .venv-peers/.installed

.venv-peers/.installed: benchmarks/peers.txt .venv/.installed
	@$(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/python -m pip install --quiet -r benchmarks/peers.txt
	@touch $@

# Without DATA a message says where to get it. SET=performances takes datasets: DATA="asap=DATASET pop909=DATASET".
quality: export QUALITY_DATA = $(value DATA)
quality: setup
ifeq ($(SET),performances)
	@$(PYTHON) -m benchmarks.performances $(foreach pair,$(DATA),--data "$(pair)") \
		--output $(or $(OUTPUT),run/performances) $(if $(MINUTES),--minutes "$(MINUTES)") $(if $(QUICK),--quick)
else
	@$(PYTHON) -m benchmarks.pianoroll quality --data "$$QUALITY_DATA" $(if $(SET),--set "$(SET)") \
		$(if $(MINUTES),--minutes "$(MINUTES)")
endif

# Keeps versions that still fit; UPGRADE=1 takes the newest of everything. sed removes markers that are always true.
lock: setup
	@cp requirements.lock .venv/requirements.lock
	@.venv/bin/uv pip compile setup.py --extra dev --universal --python-version 3.11 --no-annotate --no-header \
		--quiet $(if $(UPGRADE),--upgrade) --output-file .venv/requirements.lock
	@(head -n 1 requirements.lock; sed -e "s/python_full_version < '3.13' and //" -e "s/ and sys_platform == 'linux'$$//" \
		-e "s/ ; sys_platform == 'linux'$$//" -e "s/ and python_full_version < '3.13'//" .venv/requirements.lock) > .venv/lock
	@mv .venv/lock requirements.lock

clean:
	rm -rf .venv .venv-peers run site build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
