"""Small finished folders of shards, written as `tokenloom encode` writes them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tokenloom.core.segmentation import Ragged
from tokenloom.data.manifest import FORMATS, Manifest, write_manifest

Documents = Sequence[Sequence[int]]


def _write(
    folder: Path, shards: Sequence[tuple[int, Documents]], form: str = "megatron", vocab_size: int = 500
) -> Path:
    folder.mkdir(exist_ok=True)
    receipts, first = [], 0
    for number, (epoch, documents) in enumerate(shards):
        writer = FORMATS[form](folder, f"shard-{number:05}", vocab_size)
        writer.add(Ragged.of(documents), np.arange(len(documents)) + first, ["corpus/a.txt"] * len(documents))
        receipts.append({"name": f"shard-{number:05}", "epoch": epoch, "first_document": first, **writer.close()})
        first += len(documents)
    write_manifest(
        folder,
        Manifest(
            tokenizer={"name": "tiny", "digest": "0" * 64, "vocab_size": vocab_size, "end_of_text": None, "spec": "x"},
            settings={"format": form, "seed": 0},
            shards=receipts,
            totals={name: sum(receipt[name] for receipt in receipts) for name in ("documents", "tokens")},
        ),
    )
    return folder


@pytest.fixture
def write_folder() -> Callable[..., Path]:
    """Write shards, each an epoch and its documents, and their manifest."""
    return _write


@pytest.fixture(params=sorted(FORMATS))
def form(request: pytest.FixtureRequest) -> str:
    """Each format of shards; Parquet needs pyarrow."""
    if request.param == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet shards need the package pyarrow")
    return request.param
