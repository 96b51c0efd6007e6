"""Runs that an earlier version began: settings that it did not know stand at their defaults, others are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from features import InputError
from features.gallery import EncoderConfig
from galleryrank.gallery_run import GalleryRun
from galleryrank.settings import RunConfig, filled_in


def older(values: dict[str, Any]) -> dict[str, Any]:
    """As a version wrote them that knew neither modulation nor sharing, nor momentum."""
    new = {"modulation", "modulation_tasks", "sharing", "momentum", "accumulator"}
    return {
        name: older(value) if isinstance(value, dict) else value for name, value in values.items() if name not in new
    }


@pytest.mark.parametrize("config", [RunConfig(seed=3), EncoderConfig(seed=3, pretrained=True, backbone="vgg16")])
def test_what_was_not_known_stands_at_its_default(config: RunConfig | EncoderConfig) -> None:
    now = config.model_dump(mode="json")
    then = older(now)
    assert then != now
    assert json.dumps(filled_in(then, type(config))) == json.dumps(now)
    assert filled_in(then | {"seed": -1}, type(config)) == then | {"seed": -1}


def test_a_gallery_run_goes_on(tmp_path: Path) -> None:
    settings = EncoderConfig(seed=3).model_dump(mode="json")
    GalleryRun.claim(tmp_path / "run", {"command": "embed", "settings": older(settings)})
    run = GalleryRun.claim(tmp_path / "run", {"command": "embed", "settings": settings})
    assert json.loads((run.path / "run.json").read_text())["settings"] == settings
    other = EncoderConfig(seed=3, modulation=True).model_dump(mode="json")
    with pytest.raises(InputError, match="another settings"):
        GalleryRun.claim(tmp_path / "run", {"command": "embed", "settings": other})
