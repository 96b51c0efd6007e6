"""`galleryrank fit`: a run directory with a calibrated ranker and its baselines; resumable."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from features import Dataset, Fault, InputError
from galleryrank.console import Log
from galleryrank.run_directory import RunDirectory, log_part, replaced_vectors, training_sample
from galleryrank.settings import RunConfig, filled_in, load_config
from multitask import barrier, rank
from ranking import Prepared, Ranker, fit_prepared, prepare
from ranking.fitting import check_config, check_sampling


def fit_run(
    dataset: Path,
    out: Path,
    config: Path | None,
    overrides: Sequence[str],
    device: str | None,
    quiet: bool,
    vectors: str | None = None,
) -> None:
    """Fit what the settings say on `dataset` into the run directory `out`; `vectors` is a file, or "none"."""
    say = Log(quiet or rank() != 0)
    settings = load_config(config, overrides)
    check_device(device)
    if (
        rank() == 0
        and out.exists()
        and not (out.is_dir() and (RunDirectory(out).record_file.is_file() or not any(out.iterdir())))
    ):
        raise InputError(Fault("is not empty and holds no run: choose another --out", file=out))
    opened = Dataset.open(dataset, vectors=False if vectors == "none" else vectors)
    fit_into(RunDirectory(out), opened, settings, say, device)
    if settings.objective == "multi_head":
        say(f"next: galleryrank evaluate {out}")
    else:
        say(f"next: galleryrank score {out} LOG --out FILE (a single score is measured as another run's baseline)")


def fit_into(
    run: RunDirectory,
    dataset: Dataset,
    settings: RunConfig,
    say: Log,
    device: str | None = None,
    command: str = "fit",
) -> Ranker:
    """Fit into a run directory, going on where an earlier fit with the same settings was killed."""
    data = prepare(dataset, settings.ranker(), say)
    for name in settings.baselines:  # what cannot be fitted is refused before an hour of fitting the ranker
        check_config(dataset.schema, settings.baseline(name))
        check_sampling(dataset.schema, settings.baseline(name), data.report)
    record = {
        "command": command,
        "dataset": str(dataset.path.resolve()),
        "settings": settings.model_dump(mode="json"),
        "schema": dataset.schema.to_dict(),
        "vectors": replaced_vectors(dataset),
        "data_sha256": data.data_sha256,
        "training_sample": training_sample(dataset),
    }
    if rank() != 0:
        pass  # the first process checks and writes, for all
    elif run.record_file.is_file():
        before = run.read()
        before["settings"] = filled_in(before["settings"], RunConfig)
        names = {"command": "command", "settings": "settings", "data_sha256": "data"}
        changed = [words for key, words in names.items() if json.dumps(before.get(key)) != json.dumps(record[key])]
        if json.dumps(log_part(before["schema"])) != json.dumps(dataset.schema.log_dict()):
            changed.append("dataset.toml")
        if changed:
            raise InputError(
                Fault(f"holds a fit with another {' and another '.join(changed)}: choose another --out", run.path)
            )
        if run.model.is_dir() and all(run.baseline(b).is_dir() for b in settings.baselines):
            raise InputError(Fault("holds this very fit, finished: choose another --out", run.path))
        say("going on with the fit that was interrupted here")
    if rank() == 0:
        run.write(record | {"began": _now()})
    barrier()
    ranker = _fit_or_load(run, run.model, data, settings, None, say, device)
    for name in settings.baselines:
        _fit_or_load(run, run.baseline(name), data, settings, name, say, device)
    if rank() == 0:
        run.write(run.read() | {"ended": _now(), "versions": ranker.info["versions"]})
    return ranker


def check_device(device: str | None) -> None:
    """Refuse a device that torch does not know or this machine does not have."""
    import torch

    if device is None:
        return
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise InputError(Fault("must be cpu or cuda", key="--device", value=device)) from error
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not torch.cuda.is_available()):
        raise InputError(Fault("is not available on this machine", key="--device", value=device))


def _fit_or_load(
    run: RunDirectory,
    directory: Path,
    data: Prepared,
    settings: RunConfig,
    baseline: str | None,
    say: Log,
    device: str | None,
) -> Ranker:
    if directory.is_dir():
        return Ranker.load(directory)
    config = settings.ranker() if baseline is None else settings.baseline(baseline)  # type: ignore[arg-type]
    say(f"[bold]{'fitting the ranker' if baseline is None else f'fitting the baseline {baseline}'}[/bold]")
    checkpoint = run.checkpoint / directory.name
    ranker = fit_prepared(
        data, config, checkpoint=checkpoint, progress=False if say.quiet else None, device=device, log=say
    )
    if rank() == 0:
        ranker.save(directory)
        shutil.rmtree(run.checkpoint, ignore_errors=True)
    barrier()  # the others look for the directory next
    return ranker


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
