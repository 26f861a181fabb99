"""`croissant.json`: the data set in the vocabulary of MLCommons' Croissant 1.1, which search engines and tools read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from midi_codec.parquet.card import Description
from midi_codec.parquet.columns import Column
from midi_codec.parquet.parquet_files import Split, pattern

VERSION = "http://mlcommons.org/croissant/1.1"
PARQUET = "application/x-parquet"
_KINDS = {
    "string": "sc:Text",
    "uint8": "cr:UInt8",
    "int32": "cr:Int32",
    "int64": "cr:Int64",
    "float32": "cr:Float32",
    "float64": "cr:Float64",
}
_IN_CROISSANT = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet", "format"),
    *("includes", "isArray", "arrayShape", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path"),
    *("recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField"),
    "transform",
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{name: f"cr:{name}" for name in _IN_CROISSANT},
}


def text(described: Description, columns: Sequence[Column], splits: Sequence[Split]) -> str:
    splits = [split for split in splits if split.num_pieces]
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": described.name,
        "description": " ".join([described.summary, *_facts(described)]),
        "license": described.license,
        "distribution": [part for split in splits for part in _files(split)],
        "recordSet": [_record_set(split, columns) for split in splits],
    }
    return json.dumps(document, indent=1) + "\n"


def _facts(described: Description) -> list[str]:
    return [f"{name}: {fact}." for name, fact in described.provenance.items() if "\n" not in fact]


def _files(split: Split) -> list[dict[str, Any]]:
    files = [
        {
            "@type": "cr:FileObject",
            "@id": file.name,
            "name": file.name,
            "contentUrl": file.name,
            "contentSize": f"{file.size} B",
            "encodingFormat": PARQUET,
            "sha256": file.sha256,
        }
        for file in split.files
    ]
    file_set = {
        "@type": "cr:FileSet",
        "@id": f"{split.name}-files",
        "name": f"{split.name}-files",
        "containedIn": [{"@id": file.name} for file in split.files],
        "encodingFormat": PARQUET,
        "includes": pattern(split.name),
    }
    return [*files, file_set]


def _record_set(split: Split, columns: Sequence[Column]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": split.name,
        "name": split.name,
        "description": f"{split.num_pieces:,} pieces",
        "field": [_field(split.name, column) for column in columns],
    }


def _field(split: str, column: Column) -> dict[str, Any]:
    field = {
        "@type": "cr:Field",
        "@id": f"{split}/{column.name}",
        "name": column.name,
        "description": column.meaning,
        "dataType": _KINDS[column.kind],
        "source": {"fileSet": {"@id": f"{split}-files"}, "extract": {"column": column.name}},
    }
    return field | ({"isArray": True, "arrayShape": "-1"} if column.is_list else {})
