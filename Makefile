# Each target does all its own set-up: a machine needs only Python (3.11 or later) and make.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin
DATA ?= ../shared/data/trivago_impressions
BENCHMARKS ?= ../shared/benchmarks
SLICES := --slice platform --slice device --slice position

.PHONY: install demo test lint trivago trivago-weights trivago-compare correction benchmark galleries-probe clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: install  ## the whole story on the synthetic marketplace, about two minutes, ends in runs/demo/report.html, explore.html
	$(RUN)/galleryrank demo --out runs/demo

test: install  ## the whole test suite, warnings as errors
	$(RUN)/python -m pytest

lint: install  ## style and types
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

trivago: install  ## the real hotel log: prepare, fit, score, evaluate (DATA=folder of the log)
	$(RUN)/python examples/trivago/prepare.py $(DATA) runs/trivago/data
	cp examples/trivago/dataset.toml runs/trivago/data/
	test -d runs/trivago/run/model || \
		$(RUN)/galleryrank fit runs/trivago/data --config examples/trivago/config.toml --out runs/trivago/run
	$(RUN)/galleryrank score runs/trivago/run runs/trivago/data/impressions.parquet --out runs/trivago/scores.parquet
	$(RUN)/galleryrank evaluate runs/trivago/run
	$(RUN)/galleryrank evaluate runs/trivago/run --logged-position --out runs/trivago/logged

trivago-slices: trivago  ## by platform, device and position; LightGBM as production; refits by platform (docs/trivago.md)
	$(RUN)/galleryrank evaluate runs/trivago/run $(SLICES)
	$(RUN)/galleryrank evaluate runs/trivago/run --against runs/trivago/run/baselines/lightgbm $(SLICES) \
		--out runs/trivago/gate --junit runs/trivago/gate/gate.xml || test $$? -eq 3
	test -d runs/trivago/platform/model || $(RUN)/galleryrank fit runs/trivago/data \
		--config examples/trivago/config.toml --set refit_by=platform --out runs/trivago/platform
	$(RUN)/galleryrank evaluate runs/trivago/platform $(SLICES)

trivago-weights: trivago  ## utility weights on the hotel log, from one person's guess (docs/tuning.md)
	$(RUN)/galleryrank tune runs/trivago/run --out runs/trivago/weights --maximise click --keep 0.95 \
		--baseline click=0.3,closeup=0.15,detail=0.15,deals=0.2,reclick=0.1,searched=0.1

trivago-compare: trivago  ## five seeds against LightGBM, sampled against all negatives (docs/trivago.md)
	$(RUN)/python examples/trivago/compare.py runs/trivago/data

correction: install  ## what each correction recovers where the truth is known (docs/correction.md)
	$(RUN)/python examples/correction/simulation.py
	$(RUN)/python examples/correction/marketplace.py

.PHONY: trivago-slices evaluation counterfactual segments benchmark-evaluation

evaluation: install  ## coverage of intervals, errors of the gate, size of the calibration test (docs/evaluation.md)
	$(RUN)/python examples/evaluation/interval_coverage.py
	$(RUN)/python examples/evaluation/gate_study.py
	$(RUN)/python examples/evaluation/calibration_study.py

counterfactual: install  ## estimators from logged propensities against the truth (docs/counterfactual.md)
	$(RUN)/python examples/evaluation/counterfactual.py

segments: install  ## one refit for all, one each, shrunk ones, truth known (docs/correction.md)
	$(RUN)/python examples/correction/segments.py

benchmark-evaluation: install  ## a whole report, and metrics per request beside their peers (docs/benchmarks.md)
	$(RUN)/python benchmarks/evaluation_report.py
	$(RUN)/python benchmarks/request_metrics.py

.PHONY: tuning rounds benchmark-tuning

tuning: install  ## known landscapes, then tuned against the oracle's weights (docs/tuning.md), 40 minutes of a core
	$(RUN)/python examples/tuning/landscapes.py
	$(RUN)/python examples/tuning/marketplace.py

rounds: install  ## twenty worlds: hand-picked, offline-tuned and online-tuned weights by the truth (docs/rounds.md)
	$(RUN)/python examples/rounds/worlds.py

benchmark-tuning: install  ## the objective beside scikit-learn, and where a study's time goes (docs/benchmarks.md)
	$(RUN)/python benchmarks/objective.py
	$(RUN)/python benchmarks/tuning.py

.PHONY: galleries-ranking benchmark-galleries

galleries-ranking: install  ## what galleries and the query are worth to a ranker (docs/galleries.md)
	$(RUN)/python examples/galleries/ranking_value.py
	$(RUN)/python examples/galleries/query_value.py

benchmark-galleries: install  ## packed against padded galleries, photos per second (docs/benchmarks.md)
	$(RUN)/python benchmarks/galleries.py

.PHONY: airbnb

DATA_AIRBNB ?= ../shared/data/airbnb_galleries
SQUEEZENET ?= ../shared/data/backbone_squeezenet1_1/squeezenet1_1_caffe_rgb_fp16.pt
LIKE := --show category --show price_night --show guests --show country

airbnb: install  ## real galleries: embed, what can be read from photos, galleries like two of them (docs/airbnb.md)
	$(RUN)/python examples/airbnb/prepare.py $(DATA_AIRBNB) runs/airbnb/data
	test -f runs/airbnb/frozen/report.html || \
		$(RUN)/galleryrank embed runs/airbnb/data --config examples/airbnb/frozen.toml --set weights=$(SQUEEZENET) \
		--untrained --out runs/airbnb/frozen
	test -f runs/airbnb/treehouse/report.html || \
		$(RUN)/galleryrank retrieve runs/airbnb/data --embedded runs/airbnb/frozen --out runs/airbnb/treehouse \
		--item f9dcbd09-32ac-41d9-a0b1-fdb2793378cf $(LIKE)
	test -f runs/airbnb/beach_house/report.html || \
		$(RUN)/galleryrank retrieve runs/airbnb/data --embedded runs/airbnb/frozen --out runs/airbnb/beach_house \
		--item dab0d218-6a09-41ea-a85b-fc243c68e68f $(LIKE)
	$(RUN)/python examples/airbnb/compare.py runs/airbnb/data runs/airbnb/frozen --weights $(SQUEEZENET)

benchmark: install  ## workload W beside the hand-tuned limit (docs/benchmarks.md)
	$(RUN)/python benchmarks/workload.py --benchmarks $(BENCHMARKS)

galleries-probe: install  ## star ratings, base rates, figures 5 and 6 (docs/galleries.md), about an hour of one core
	$(RUN)/python examples/galleries/probe_study.py
	$(RUN)/python examples/galleries/probe_study.py --seeds 3 --properties 2000 --optima --out runs/galleries/optima

.PHONY: modulation selective-sharing many-tasks

modulation: install  ## modulation against its baselines (docs/interference.md), about two hours of one core
	$(RUN)/python -m examples.modulation attributes
	$(RUN)/python -m examples.modulation depth
	$(RUN)/python -m examples.modulation toy
	$(RUN)/python -m examples.modulation footwear
	$(RUN)/python -m examples.modulation tasks
	$(RUN)/python -m examples.modulation inference

selective-sharing: install  ## which tasks share a branch (docs/selective_sharing.md), several hours of one core
	$(RUN)/python -m examples.selective_sharing mnist --images 5000 --epochs 10 --out runs/selective_sharing/mnist_small
	$(RUN)/python -m examples.selective_sharing mnist
	$(RUN)/python -m examples.selective_sharing omniglot
	$(RUN)/python -m examples.selective_sharing cifar10 --images 10000 --epochs 15
	$(RUN)/python -m examples.selective_sharing heterogeneous --set shoes
	$(RUN)/python -m examples.selective_sharing heterogeneous --set properties
	$(RUN)/python -m examples.selective_sharing ranking --seeds 5
	$(RUN)/python -m examples.selective_sharing capture

many-tasks: trivago  ## modulation and sharing in the ranker and the encoder (docs/many_tasks.md), 33 minutes of one core
	$(RUN)/python -m examples.many_tasks trivago
	$(RUN)/python -m examples.many_tasks attributes

clean:
	rm -rf $(VENV) runs build *.egg-info
