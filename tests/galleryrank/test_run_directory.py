"""What a run's record keeps of the data set's description."""

from __future__ import annotations

import json
from pathlib import Path

from features import Schema
from galleryrank.run_directory import log_part


def test_the_recorded_log_is_the_schemas_own_log(photo_world: Path) -> None:
    """The same JSON text, whatever is said of photos; a description of another version equals no sound one."""
    schema = Schema.load(photo_world / "dataset.toml")
    recorded = json.loads(json.dumps(schema.to_dict()))
    assert recorded["gallery"]
    assert recorded["files"]["photos"]
    expected = json.dumps(schema.log_dict())
    assert json.dumps(log_part(recorded)) == expected
    for changed in (recorded | {"gallery": {"image": "png"}}, {k: v for k, v in recorded.items() if k != "gallery"}):
        assert json.dumps(log_part(changed)) == expected
    assert json.dumps(log_part(recorded | {"heads": dict(reversed(recorded["heads"].items()))})) != expected
    assert log_part(recorded | {"shelves": 3}) == recorded | {"shelves": 3}
    assert log_part({}) == {}
