"""Where a precomputed volume lies, in all the ways that people paste it from Neuroglancer.

::

    folder   file:///folder   precomputed://gs://bucket/path   s3://bucket/path
    https://host/path   gs://bucket/path|neuroglancer-precomputed:
    https://neuroglancer-demo.appspot.com/#!{...}       (a link to a whole view)
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from pipeline.errors import InputError
from pipeline.store.place import Place, RemotePlace, as_place

INFO = "info"
PREFIX = "precomputed://"
SUFFIX = re.compile(r"\|neuroglancer-precomputed:?/?$")
SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
VIEW = "#!"
OTHER_FORMAT = re.compile(r"\.(zarr|n5)(/|\||:|$)|\|(zarr|n5)")
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Environment variables that name an S3 store other than Amazon's."""


def recognises_precomputed(path: str) -> bool:
    """Whether a path is a URL of no other format, or a folder with an ``info`` of scales."""
    if SCHEME.match(path):
        return OTHER_FORMAT.search(path) is None or path.startswith(PREFIX)
    try:
        with open(os.path.join(path, INFO), "rb") as file:
            return b'"scales"' in file.read(1 << 20)
    except (OSError, ValueError):
        return False


def source_place(text: str) -> Place:
    """The folder or remote place that an address means, whatever Neuroglancer adds to it.

    Raises
    ------
    InputError
        If nothing can be read from there, it holds a secret, or a link shows no or several
        volumes.
    """
    if SCHEME.match(text) and VIEW in text:
        text = _only_source(text)
    bare = SUFFIX.sub("", text.removeprefix(PREFIX))
    scheme = SCHEME.match(bare)
    if scheme and scheme[1].lower() != "file" and bare[scheme.end() :].startswith("/"):
        raise InputError(f"{text}: names no host or bucket")
    return as_place(bare)


def key_value_store(text: str) -> Mapping[str, Any]:
    """Description for tensorstore of the store that holds a volume; see ``source_place``."""
    place = source_place(text)
    if not isinstance(place, RemotePlace):
        if not place.is_dir():
            raise InputError(f"{text}: is no folder")
        return {"driver": "file", "path": f"{place.absolute()}{os.sep}"}
    bucket, _, inside = place.url.partition("://")[2].partition("/")
    prefix = f"{inside}/" if inside else ""
    if place.protocol in ("gs", "gcs"):
        return {"driver": "gcs", "bucket": bucket, "path": prefix}
    if place.protocol in ("s3", "s3a"):
        endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), None)
        elsewhere = {"endpoint": endpoint} if endpoint else {}
        return {"driver": "s3", "bucket": bucket, "path": prefix, **elsewhere}
    if place.protocol in ("http", "https"):
        return {"driver": "http", "base_url": f"{place.url}/"}
    raise InputError(f"{text}: precomputed volumes are not read from {place.protocol}://")


def _only_source(link: str) -> str:
    """The one precomputed image (else the one volume) of a link to a Neuroglancer view."""
    try:
        state = json.loads(unquote(link.split(VIEW, 1)[1]))
        found = [
            (str(layer.get("type")), source)
            for layer in state["layers"]
            for source in _sources(layer.get("source"))
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{link[:60]}...: is a link to a view that cannot be read; give the volume's own "
            "address, precomputed://..."
        ) from error
    images = [source for kind, source in found if kind == "image"]
    chosen = images or [source for _, source in found]
    if len(chosen) == 1:
        return chosen[0]
    listed = ", ".join(source for _, source in found) or "none"
    raise InputError(f"{link[:60]}...: which volume of this view is meant? there are: {listed}")


def _sources(value: Any) -> Iterator[str]:
    """Precomputed addresses of a layer."""
    for source in value if isinstance(value, list) else [value]:
        url = source.get("url") if isinstance(source, dict) else source
        if isinstance(url, str) and (url.startswith(PREFIX) or SUFFIX.search(url)):
            yield url
