"""The model card: what a model directory's README.md says to whoever opens it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from multitask.sharing.record import groups_text
from ranking.calibration import SegmentRefits
from ranking.heads import ANY
from ranking.ranker import UTILITY_HISTORY, Ranker
from ranking.vectors import SHOWN, coverage_text, describe_vectors


def model_card(ranker: Ranker) -> str:
    """Markdown: what the model predicts, from which data, how sampling was corrected, how it is used."""
    info, config, schema = ranker.info, ranker.config, ranker.schema
    lines = [f"# A ranker for {schema.name}", ""]
    if ranker.tree:
        lines.append("It predicts, for every candidate, the probability of each engagement:")
        lines.append("")
        for name, head in schema.heads.items():
            parent = schema.parent(name)
            notes = [f"implies {parent}" if parent else "", "wanted" if head.sign > 0 else "unwanted"]
            lines.append(f"- `{name}` ({', '.join(n for n in notes if n)})")
        weights = _weights(ranker.utility.weights if ranker.utility else None)
        lines += ["", f"Utility weights: {weights}.", f"Sampling correction: {config.correction}."]
        if ranker.calibration and ranker.calibration.segments:
            lines += ["", *_segments(ranker.calibration.segments, ranker.tree.nodes), ""]
        earlier = info.get(UTILITY_HISTORY, [])
        if earlier:
            lines += ["", "Utility weights before, latest first:", ""]
            for entry in reversed(earlier):
                note = " ".join(entry["note"].split())  # one line of a list, whatever was typed
                lines.append(f"- until {entry['replaced']}: {_weights(entry['weights'])}{f' ({note})' if note else ''}")
            lines.append("")
    else:
        lines.append("It yields one score per candidate (importance-weighted, eq. 1); the score is not a probability.")
    rate = schema.sampling.negative_rate if schema.sampling else 1.0
    lines += [
        "",
        f"Model: {config.model}, seed {config.training.seed}. Rows: {info.get('training_rows', 0):,} to train, "
        f"{info.get('calibration_rows', 0):,} to stop and calibrate on.",
        f"Negative rate of the log: {rate or 'by row'}; of training on top of it: {config.negative_rate:g}.",
    ]
    if config.network.modulation and not config.unread:
        lines.append("Each head scales the channels of the shared layers by masks of its own.")
    sharing = info.get("history", {}).get("sharing")
    if sharing is not None:
        lines.append(
            f"Hidden layers of the heads ({sharing['directive']}; `{ANY}`: the head of any engagement at all): "
            f"{groups_text(sharing['groups'])}."
        )
    embedding = describe_vectors(ranker.encoders.vectors)
    if embedding:
        made = (
            f"made by the gallery encoder {str(embedding['encoder'])[:SHOWN]}" if embedding["encoder"] else "not ours"
        )
        covered = coverage_text(info["vector_coverage"], "training rows") if "vector_coverage" in info else ""
        lines.append(f"Item vectors: {embedding['items']:,} of {embedding['dim']} numbers, {made}. {covered}".strip())
    if schema.position:
        lines.append(f"Position is set to {schema.position.serving_value} when scoring.")
    lines += [
        "",
        "```python",
        "from ranking import Ranker",
        'ranker = Ranker.load("this directory")',
        "ranked = ranker.rank(candidates, k=20)",
        "```",
        "",
    ]
    return "\n".join(lines)


def _segments(segments: SegmentRefits, nodes: Sequence[str]) -> list[str]:
    """The offsets at the serving position, the largest of each node by name."""
    count = len(segments.values)
    lines = [
        f"Refitted by `{segments.by}` ({count} values), shrunk to the refit of all rows, which unknown values get. "
        "Offsets of the logit:",
        "",
    ]
    for node, refit in zip(nodes, segments.serving, strict=True):
        if refit.reason is not None:
            lines.append(f"- `{node}`: none ({refit.reason})")
            continue
        order = sorted(range(1, count + 1), key=lambda code: -abs(refit.offsets[code]))
        largest = ", ".join(f"{segments.values[code - 1]} {refit.offsets[code]:+.2f}" for code in order[:5])
        lines.append(f"- `{node}`: standard deviation {refit.tau:.2f}; {largest}{', ...' if count > 5 else ''}")
    return lines


def _weights(weights: Mapping[str, float] | None) -> str:
    return ", ".join(f"{head} {weight:g}" for head, weight in weights.items()) if weights else "none"
