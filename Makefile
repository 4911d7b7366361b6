# Two commands on a fresh machine do everything: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out/demo

.DEFAULT_GOAL := help
.PHONY: help peers demo test quick real schedules opencv4 lint docs bench clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

# Versions are those the project is tested with; they are not the ones it needs at least (pyproject.toml).
$(VENV)/.user: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.user
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Independent programs that the saliency metrics are compared with. One of them is compiled: where that cannot be
# done, the comparisons are skipped.
$(VENV)/.peers: $(VENV)/.dev benchmarks/saliency/peers.txt
	-$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/peers-saliency -r benchmarks/saliency/peers.txt
	@touch $@

peers: $(VENV)/.peers  ## set up the programs that the saliency metrics are compared with

demo: $(VENV)/.user  ## set up, then follow people through a real video (results in out/demo)
	$(BIN)/sparsight demo --out $(OUT)

test: lint quick real  ## set up, then pass every check (real data when SPARSIGHT_ASSETS names it)

quick: $(VENV)/.peers  ## tests that need nothing but the package
	$(BIN)/python -m pytest -q -n 2 -m "not real"

real: $(VENV)/.peers  ## tests on real weights and data; skipped where SPARSIGHT_ASSETS is not set
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m real

schedules: $(VENV)/.user  ## the table of pruning schedules alone, on real data: part of it is what `real` checks
	$(BIN)/python benchmarks/prune/schedules.py --out out/schedules

OPENCV_TESTS := tests/media tests/track/test_detect.py tests/track/test_poses.py tests/track/trackers/test_tracker_camera.py \
	tests/saliency/classic tests/saliency/metrics $(addprefix tests/saliency/test_,external.py moving.py popouts.py rarity.py) \
	tests/app/test_watch.py
opencv4: $(VENV)/.dev  ## the tests that touch OpenCV, with its version 4 instead of 5
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/opencv4 'opencv-python-headless<5'
	PYTHONPATH=$(VENV)/opencv4 $(BIN)/python -m pytest -q -n 2 -m "not real" $(OPENCV_TESTS)

lint: $(VENV)/.dev  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.dev  ## build the manual into site/
	$(BIN)/mkdocs build --strict

bench: $(VENV)/.peers  ## measure quality, and speed beside named peers (needs SPARSIGHT_ASSETS)
	$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/peers trackers==2.6.1
	$(BIN)/python benchmarks/track/tracker_speed.py --peer $(VENV)/peers --out out/bench
	$(BIN)/python benchmarks/track/hota.py --detector det_frcnn ssdlite yolox_nano --peer $(VENV)/peers
	$(BIN)/python benchmarks/track/looks.py --out out/bench
	$(BIN)/python benchmarks/track/detectors.py ssdlite yolox darknet openpose
	$(BIN)/python benchmarks/track/evaluation_speed.py --out out/bench
	$(BIN)/python benchmarks/track/evaluation_speed.py --memory
	$(BIN)/python benchmarks/track/strangers.py --out benchmarks/track/results
	$(BIN)/python benchmarks/track/identities.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/track/ten_hours.py --out out/bench
	$(BIN)/python benchmarks/saliency/deeprare_speed.py
	$(BIN)/python benchmarks/saliency/metrics_speed.py
	$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/peers-prune -r benchmarks/prune/peers.txt
	$(BIN)/python benchmarks/prune/compare.py --peers $(VENV)/peers-prune --size 224 --out out/bench/compare.json
	$(BIN)/python benchmarks/prune/schedules.py --out out/bench

clean:  ## remove the environment and everything made
	rm -rf $(VENV) site out .pytest_cache .mypy_cache .ruff_cache
