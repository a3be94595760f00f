# `make demo` and `make test` are the two commands of the README; each installs what it needs.
SHELL := /bin/bash
PYTHON ?= python3
ENVS := .envs
UV := $(ENVS)/uv/bin/uv
BIN := $(CURDIR)/$(ENVS)/dev/bin
DEMO := .demo

.PHONY: demo test unit component programs controlplane argocd kueue-program lws kueue registry-program node-packages \
  node-programs node images images-twice image-base e2e chain cluster cluster-down lint format generate bench lock envs clean

# --- environments: one a lock file, installed by hash -------------------------------------------------

$(UV): requirements/uv.txt
	$(PYTHON) -m venv --clear $(ENVS)/uv
	$(ENVS)/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

members_dev := operator trainer converter
members_operator := operator
members_trainer := trainer
members_converter := converter
members_server-cpu := converter

$(ENVS)/%/.installed: requirements/%.txt operator/pyproject.toml trainer/pyproject.toml converter/pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --no-project --python $(PYTHON) $(ENVS)/$*
	$(UV) pip sync --quiet --compile-bytecode --require-hashes --python $(ENVS)/$*/bin/python $<
	for member in $(members_$*); do \
	  $(UV) pip install --quiet --no-deps --python $(ENVS)/$*/bin/python --editable ./$$member || exit 1; done
	touch $@

envs: $(foreach env,dev operator trainer converter server-cpu,$(ENVS)/$(env)/.installed)

compile := pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
lock: | $(UV)
	$(UV) $(compile) requirements/dev.in $(foreach m,$(members_dev),$(m)/pyproject.toml) -o requirements/dev.txt
	for member in $(members_dev); do \
	  $(UV) $(compile) -c requirements/dev.txt $$member/pyproject.toml -o requirements/$$member.txt || exit 1; done
	$(UV) $(compile) -c requirements/dev.txt requirements/torch.in -o requirements/torch.txt
	for server in server-cpu server-gpu; do \
	  $(UV) $(compile) --overrides requirements/$$server.overrides.txt requirements/$$server.in \
	    -o requirements/$$server.txt || exit 1; done

# --- checks -------------------------------------------------------------------------------------------

lint: $(ENVS)/dev/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/sizes.py
	$(BIN)/python -m finetune_operator.api.generate --check
	$(BIN)/hadolint images/*/Dockerfile
	$(BIN)/pytest --collect-only --quiet --quiet tests  # every test module finds what it imports

format: $(ENVS)/dev/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

demo: $(foreach env,operator trainer converter server-cpu,$(ENVS)/$(env)/.installed)
	$(ENVS)/operator/bin/python examples/demo.py --storage $(DEMO) \
	  --finetune $(ENVS)/operator/bin/finetune --python $(ENVS)/converter/bin/python

generate: $(ENVS)/dev/.installed
	$(BIN)/python -m finetune_operator.api.generate
	$(BIN)/python helm/copy_crds.py
	$(BIN)/python gitops/generate.py
	$(BIN)/python -m finetune_trainer.base.families.guide .

bench: envs demo
	$(BIN)/python bench/run.py

test: unit component controlplane chain

# What is pure: neither torch nor a process. Seconds.
unit: $(ENVS)/dev/.installed
	$(BIN)/pytest -n 2 tests/unit

# What needs torch, or starts processes; a file's tests stay together, for what they share.
component: $(ENVS)/dev/.installed registry-program
	$(BIN)/pytest -n 2 --dist loadfile tests/component

# CNCF Distribution, which the converter pushes to: a minute, once a machine, into the user's cache.
registry-program: $(ENVS)/dev/.installed
	@$(BIN)/python tests/builders/distribution.py

# etcd, a real API server and its controllers: minutes, once a machine, into the user's cache.
programs: $(ENVS)/dev/.installed
	@$(BIN)/python tests/controlplane/cluster build

kueue-program: $(ENVS)/dev/.installed
	@$(BIN)/python tests/controlplane/cluster build-kueue

controlplane: programs
	$(BIN)/pytest -m "not argocd and not kueue and not lws" tests/controlplane

# By hand: the controller itself, which controlplane plays.
lws: programs
	@$(BIN)/python tests/controlplane/cluster build-lws
	$(BIN)/pytest -m lws tests/controlplane

# By hand: gitops/ by Argo CD's own engine, from a git server.
argocd: programs
	@$(BIN)/python tests/controlplane/cluster build-argocd
	$(BIN)/pytest -m argocd tests/controlplane

# By hand, as root: the queue itself, where controlplane suspends Jobs as a queue would.
kueue: programs kueue-program
	$(BIN)/pytest -m kueue tests/controlplane

# As root: what a real node needs of Debian's, unless it is here, and what else it runs, built into the user's cache.
node-packages: $(ENVS)/dev/.installed
	@$(BIN)/python tests/controlplane/cluster node-packages

node-programs: node-packages
	@$(BIN)/python tests/controlplane/cluster build-node

# A control plane with fake GPU nodes for hand work; NODE=real: one node that really runs pods, as root.
# Prints the exports that kubectl and helm need.
cluster: $(if $(filter real,$(NODE)),node-programs) programs
	@$(BIN)/python tests/controlplane/cluster up --node $(or $(NODE),played)
	@echo 'export PATH=$(BIN):$$PATH'

cluster-down: $(ENVS)/dev/.installed
	$(BIN)/python tests/controlplane/cluster down

# Every image, built and pushed. BUILDER: docker, podman or buildah. BASE: Debian with Python, a public one when empty.
IMAGES ?= operator trainer converter server
BUILDER ?= docker
TAG ?= dev
# What is built twice is the same: files of no time. Docker needs a builder that rewrites times for it. buildah makes one
# layer of all unless it is told otherwise, and a change of our code would push everything.
BUILD = $(BUILDER) build $(if $(filter docker,$(BUILDER)),,--timestamp=0 --layers) $(BUILD_FLAGS) \
  $(if $(BASE),--build-arg BASE=$(BASE)) $(if $(DEVICE),--build-arg DEVICE=$(DEVICE))
images:
	@[ -n "$(REGISTRY)" ] || { echo "error: no registry. Say where to push: make images REGISTRY=registry.example/finetune"; exit 1; }
	for image in $(IMAGES); do \
	  $(BUILD) --file images/$$image/Dockerfile --tag $(REGISTRY)/$$image:$(TAG) . \
	  && $(BUILDER) push $(PUSH_FLAGS) $(REGISTRY)/$$image:$(TAG) || exit 1; done

# Whether two builds, neither with a layer of before, are one image.
images-twice:
	mkdir -p build
	for image in $(IMAGES); do \
	  for build in first second; do \
	    $(BUILD) --no-cache --iidfile build/$$image.$$build --file images/$$image/Dockerfile . || exit 1; done; \
	  cmp build/$$image.first build/$$image.second && echo "$$image: $$(cat build/$$image.first), twice" || exit 1; done

# The base of our images where no public one can be had: Debian's own, with its Python. Neither documents nor
# translations; what each package is licensed by stays.
image-base:
	rm -rf build/image-base && mkdir -p build
	debootstrap --variant=minbase --include=python3-venv,ca-certificates bookworm build/image-base
	sh images/slim.sh build/image-base
	base=$$(buildah from scratch) && buildah add --quiet $$base build/image-base / \
	  && buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin $$base \
	  && buildah commit --timestamp=0 --quiet $$base localhost/image-base && buildah rm $$base
	rm -rf build/image-base

# As root: a node that really runs pods, and the chart on it with the operator in its own image.
node: node-programs programs
	$(BIN)/pytest tests/e2e/test_node.py tests/e2e/test_operator.py

# By hand, as root: all of our images there, the chain and faults; then gitops/ by Argo CD's own engine.
e2e: node-programs programs
	$(BIN)/pytest tests/e2e
	$(MAKE) --no-print-directory argocd

chain: envs
	$(BIN)/pytest tests/chain

clean:
	rm -rf $(DEMO) build .pytest_cache .mypy_cache .ruff_cache
