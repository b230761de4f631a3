"""The rows of the option matrix, made from ``cookiecutter.json``: a new option cannot stay untested."""

import itertools
from typing import Any

from conftest import OPTIONS

# Words of each option that must not occur, in paths or contents, in any case, once it is declined.
TRACES = {
    "scope": (
        r"labelme\b|pascal|\bvoc\b|yolo|annotation_files|data\.exclude|\bexclude: (?!\^uv\\.lock)|"
        r"\bexport(s|ed|er|ing)?\b|onnx"
        r"|optuna|(?<!fine-)\btun(e|es|ed|er|ing)\b|\bstud(y|ies)\b|\btrials?\b"
        r"|\bbench\b|doctor|\bdata\.cache\b|cache_folder|\bvideos?\b|\bav\b"
        r"|slurm|submitit|sbatch|torchrun|num_nodes|preempt|requeue|sigusr1"
        r"|(?<!endorse or )\bpromot(e|es|ed|ion)\b|wandb-(sync|report|workspaces)"
        r"|wandb leet|leet\.png|\balerts?\b|\blineage\b"
        r"|\bembeddings?\b|sweeps/"
        r"|model\.freeze|backbone_lr|layer_decay|\binit=|trainer\.extra|sync_batchnorm|val_check_interval"
        r"|check_val_every|max_time|\bperf/|pretrained=coco"
    ),
    "use_wandb": r"wandb|weights ?& ?biases|w&b",
    "use_docker": r"docker|compose\.ya?ml|\bcontainers?\b",
    "ci": r"\bgithub actions?\b|\.github|workflows?\b|\bci\b",
    "license": r"(?<!known\.)licen[cs]e(?! of the weights)",  # those have one of their own
}

# The same for the tasks that were not chosen.
TASK_TRACES = {
    "classification": (
        r"(?<!torchmetrics\.)(?<!loss_)classif(?!ication_head)|imagefolder|mixup|cutmix|label_smoothing|accuracy"
    ),
    "detection": (
        r"detect(?!-private|\(\))|(?<!Resampling\.)\bbox(es)?\b|(?<![\"'])(?<!\.to)bbox(?!_to_anchor|_inches)|yolo|fcos|retinanet|rcnn|ssdlite|d-?fine"
    ),
    "segmentation": r"(?<![\"'])segment|maskfolder|(?<!eval\.core import )\bmasks?\b(?!=)|miou\b|iou_by|\bdice\b",
}

# And those of what an essential project of a task lacks.
ESSENTIAL_TRACES = {
    "classification": r"data=csv|csv\.yaml|csv_labels|csv_table|multi-?label|several labels|label_column"
    r"|val/mAP|score_threshold",
    "detection": r"\bdfine\b|d-fine|retinanet|rcnn|r-cnn|ssdlite|(?<!Some )transformers\b|model\.architecture=",
    "segmentation": r"coco|outside_root",
}

# And what only some tasks may name.
SHARED_TRACES = {
    r"coco": {"detection", "segmentation"},
    r"(?-i:mAP|\bAP\b)": {"classification", "detection"},
}


def choices() -> dict[str, list[Any]]:
    """Each option with its answers: lists as they are, booleans both ways."""
    found: dict[str, list[Any]] = {}
    for key, default in OPTIONS.items():
        if isinstance(default, bool):
            found[key] = [default, not default]
        elif isinstance(default, list):
            found[key] = default
    return found


def declinable() -> dict[str, Any]:
    """The options that can be declined, with the answer that does so."""
    no = {False, "none", "essential"}
    return {key: next(value for value in values if value in no) for key, values in choices().items() if no & {*values}}


def rows() -> list[dict[str, Any]]:
    """Defaults, all on, all off, each answer alone, and every pair of answers somewhere."""
    options = choices()
    off = declinable()
    found: list[dict[str, Any]] = [
        {},
        {key: next(value for value in options[key] if value != no) for key, no in off.items()},
        dict(off),
        *({key: value} for key, values in options.items() for value in values[1:]),
        *_pairwise(options),
    ]
    unique = {tuple(sorted((defaults(options) | row).items(), key=str)): row for row in reversed(found)}
    return list(reversed(unique.values()))


def defaults(options: dict[str, list[Any]]) -> dict[str, Any]:
    """The answers that are given when nothing is asked."""
    return {key: values[0] for key, values in options.items()}


def name(row: dict[str, Any]) -> str:
    """What a row changes, to read in a test's id."""
    return " ".join(f"{key}={value}" for key, value in row.items()) or "defaults"


def _pairwise(options: dict[str, list[Any]]) -> list[dict[str, Any]]:
    missing = {
        ((one, a), (two, b))
        for one, two in itertools.combinations(options, 2)
        for a in options[one]
        for b in options[two]
    }
    every = [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]
    found = []
    while missing:
        best = max(every, key=lambda row: len(missing & _pairs(row)))
        found.append(best)
        missing -= _pairs(best)
    return found


def _pairs(row: dict[str, Any]) -> set[tuple[tuple[str, Any], tuple[str, Any]]]:
    return set(itertools.combinations(row.items(), 2))
