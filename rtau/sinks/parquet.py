"""A table as Apache Parquet, through pyarrow.

Parquet can't be read before its last byte is written, so the rows go to a CSV beside it meanwhile, `<name>.partial`,
and are put into the Parquet file at the end. A run that was cut off leaves that CSV, which `rtau convert` reads.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, OutputError
from ..tables.files import open_rows, parquet_module
from ..tables.layout import Column, Layout
from .paths import exists_error, replaced
from .rows import CsvRows

#: Numbers that are compressed at once: the memory that finishing takes is some times 8 bytes each.
_GROUP = 2_000_000


def partial_path(path: Path) -> Path:
    """Where the rows are until the Parquet file is complete."""
    return path.with_name(f"{path.name}.partial")


class ParquetRows:
    """Writes rows into a Parquet file: the numbers of the CSV, rounded as these are, null where it has NaN.

    Floats are float64, so that they equal the CSV's to the last bit; frame and face_id are int64, what is yes or no is
    int8, text is string. Compressed with zstd.

    Args:
        path: the file to write; its folder must exist.
        layout: its columns.
        overwrite: replace a file that exists, and what a run that was cut off has left.
        keep: leave the rows in `partial_path` when the Parquet file can't be finished; else they are to be had again.

    Raises:
        UsageError: pyarrow isn't installed. OutputError: on entering, writing or leaving: a file exists, or can't be
            written; the rows so far stay in `partial_path`.
    """

    def __init__(self, path: Path, layout: Layout, *, overwrite: bool = False, keep: bool = True) -> None:
        parquet_module()
        self.path, self.layout, self.overwrite, self.keep = path, layout, overwrite, keep
        self._partial = partial_path(path) if keep else path.with_name(f".{path.name}.{os.getpid()}.rows")
        self._rows = CsvRows(self._partial, layout, overwrite=True)

    def __enter__(self) -> ParquetRows:
        if self.path.exists() and not self.overwrite:
            raise exists_error(self.path)
        if self.keep and self._partial.exists() and not self.overwrite:
            raise OutputError(f"{self._partial} holds the rows of a run that was cut off: rtau convert {self._partial} "
                              f"{self.path} makes a table of them; or pass --overwrite to drop them")
        self._rows.__enter__()
        return self

    def write(self, values: np.ndarray, inputs: Sequence[str]) -> None:
        """See `RowFile`."""
        self._rows.write(values, inputs)

    def __exit__(self, kind: object, *exc: object) -> None:
        try:
            # What went wrong before is what the user must hear of, not that this fails too.
            with contextlib.suppress(*([] if kind is None else [OutputError])):
                self._rows.__exit__(kind, *exc)
                self._finish()
        finally:
            if not self.keep:
                self._partial.unlink(missing_ok=True)

    def _finish(self) -> None:
        try:
            _write_parquet(self._partial, self.path, self.layout)
        except (InputError, OutputError) as error:
            if not self.keep:
                raise
            raise OutputError(f"{error}; the rows are in {self._partial}: rtau convert makes a table of it") from None
        with contextlib.suppress(OSError):
            self._partial.unlink()


def _write_parquet(rows: Path, path: Path, layout: Layout) -> None:
    """Make a Parquet file of a CSV with the columns of the layout, in bounded memory.

    Raises:
        OutputError: it can't be written.
    """
    import pyarrow

    parquet = parquet_module()
    schema = pyarrow.schema([(column.name, _kind(column)) for column in layout.columns])
    numbers = [column.name for column in layout.columns if not column.text]
    texts = [column.name for column in layout.columns if column.text]
    size = max(1000, _GROUP // len(layout.columns))
    reader = open_rows(rows)
    held: list[Any] = []
    try:
        with (replaced(path, "wb", folder=False, sync=True, alone=False) as file,
              parquet.ParquetWriter(file, schema, compression="zstd") as writer):
            for values, words in reader.blocks(numbers, texts):
                columns = dict(zip(numbers, values.T, strict=True)) | dict(zip(texts, words, strict=True))
                held.append(pyarrow.record_batch(
                    [_array(columns[column.name], _kind(column)) for column in layout.columns], schema=schema))
                if sum(batch.num_rows for batch in held) >= size:
                    writer.write_table(pyarrow.Table.from_batches(held))
                    held = []
            if held:
                writer.write_table(pyarrow.Table.from_batches(held))
    finally:
        reader.close()


def _kind(column: Column) -> Any:
    import pyarrow

    if column.text:
        return pyarrow.string()
    if not column.whole:
        return pyarrow.float64()
    return pyarrow.int64() if column.form == "%d" and column.source != "success" else pyarrow.int8()


def _array(values: Any, kind: Any) -> Any:
    import pyarrow

    if isinstance(values, list):
        return pyarrow.array([word or None for word in values], kind)
    # NaN becomes null, which averages leave out.
    lacking = np.isnan(values)
    whole = np.where(lacking, 0, values) if pyarrow.types.is_integer(kind) else values
    return pyarrow.array(whole.astype(kind.to_pandas_dtype()), kind, mask=lacking)
