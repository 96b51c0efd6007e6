"""`galleryrank fit`: a run directory with a calibrated ranker and its baselines; resumable."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from features import Dataset, Fault, InputError
from galleryrank.console import Log
from galleryrank.run_directory import RunDirectory
from galleryrank.settings import RunConfig, load_config
from multitask import rank
from ranking import Prepared, Ranker, fit_prepared, prepare


def fit_run(
    dataset: Path, out: Path, config: Path | None, overrides: Sequence[str], device: str | None, quiet: bool
) -> None:
    """Fit what the settings say on `dataset` into the run directory `out`."""
    say = Log(quiet or rank() != 0)
    settings = load_config(config, overrides)
    if out.exists() and not (out.is_dir() and (RunDirectory(out).record_file.is_file() or not any(out.iterdir()))):
        raise InputError(Fault("is not empty and holds no run: choose another --out", file=out))
    fit_into(RunDirectory(out), Dataset.open(dataset), settings, say, device)
    say(f"next: galleryrank evaluate {out}")


def fit_into(run: RunDirectory, dataset: Dataset, settings: RunConfig, say: Log, device: str | None = None) -> Ranker:
    """Fit into a run directory, going on where an earlier fit with the same settings was killed."""
    data = prepare(dataset, settings.ranker(), say)
    record = {
        "command": "fit",
        "dataset": str(dataset.path.resolve()),
        "settings": settings.model_dump(mode="json"),
        "data_sha256": dataset.data_hash(),
    }
    if run.record_file.is_file():
        before = run.read()
        changed = sorted(k for k in ("settings", "data_sha256") if before.get(k) != record[k])
        if changed:
            raise InputError(
                Fault(f"holds a fit with other {' and '.join(changed)}: choose another --out", file=run.path)
            )
        if run.model.is_dir() and all(run.baseline(b).is_dir() for b in settings.baselines):
            raise InputError(Fault("holds this very fit, finished: choose another --out", file=run.path))
        say("going on with the fit that was interrupted here")
    if rank() == 0:
        run.write(record | {"began": _now()})
    ranker = _fit_or_load(run, run.model, data, settings, None, say, device)
    for name in settings.baselines:
        _fit_or_load(run, run.baseline(name), data, settings, name, say, device)
    if rank() == 0:
        run.write(run.read() | {"ended": _now(), "versions": ranker.info["versions"]})
    return ranker


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
    return ranker


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
