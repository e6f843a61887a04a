"""Labels of both sides: how many, and which."""

from builder.frameworks.job import Answer

Labels = tuple[str, ...]


def labels_difference(ours: Labels, answer: Answer, source: Labels | None) -> str | None:
    """In what the contract's labels are not the source's; `source` None: as far as its answer tells."""
    if source is not None and source != ours:
        return _names_differ(source, ours)
    if answer.probabilities is not None and len(answer.probabilities) != len(ours):
        return f"the source has {len(answer.probabilities)} classes, the contract {len(ours)} labels"
    if answer.label_ids is not None and answer.label_ids.max(initial=0) >= len(ours):
        return f"the source finds label id {answer.label_ids.max()}, the contract has {len(ours)} labels"
    return None


def _names_differ(source: Labels, ours: Labels) -> str:
    missing = [name for name in source if name not in ours]
    extra = [name for name in ours if name not in source]
    told = [
        *([f"{', '.join(missing[:5])} of the source missing"] if missing else []),
        *([f"{', '.join(extra[:5])} not in the source"] if extra else []),
    ]
    first = next((n for n, pair in enumerate(zip(source, ours, strict=False)) if pair[0] != pair[1]), None)
    if first is not None and not missing and not extra:
        told.append(f"label {first} is {source[first]} in the source and {ours[first]} in the contract")
    return f"{len(source)} classes in the source, {len(ours)} labels in the contract; {', '.join(told) or 'repeated'}"
