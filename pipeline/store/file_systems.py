"""File systems of fsspec, one maker a protocol; only here its libraries are imported."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

from pipeline.errors import ConfigError
from pipeline.store.place import StorageOptions

CLOUD = "pip install 'neuron-pipeline[cloud]'"


def open_file_system(protocol: str, options: StorageOptions, *, anonymous: bool) -> Any:
    """An asynchronous file system of fsspec, for use in one event loop.

    It makes one attempt a request where that can be said to it, and its time-outs are for the
    time without a byte.

    Parameters
    ----------
    protocol
        ``s3``, ``https``, ...
    options
        How it is reached.
    anonymous
        Without credentials.

    Raises
    ------
    ConfigError
        If its library is not installed; says how to.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # gcsfs: that without a project none can be listed
            return _MAKERS[protocol](options, anonymous)
    except ImportError as error:
        raise ConfigError(
            f"{protocol}:// needs a library that is not installed ({error.name or error}); {CLOUD}"
        ) from error


def _s3(options: StorageOptions, anonymous: bool) -> Any:
    from s3fs import S3FileSystem

    seconds = options.timeout_seconds
    known = {
        "endpoint_url": options.endpoint_url,
        "profile": options.profile,
        "requester_pays": options.requester_pays,
        "client_kwargs": {"region_name": options.region} if options.region else None,
    }
    system = S3FileSystem(
        asynchronous=True,
        skip_instance_cache=True,
        anon=anonymous,
        use_listings_cache=False,
        max_concurrency=1,  # more would ask for the size of every object before reading it
        config_kwargs={
            "connect_timeout": seconds,
            "read_timeout": seconds,
            "retries": {"total_max_attempts": 1},
        },
        **_without_none(known),
    )
    system.retries = 1
    return system


def _gs(options: StorageOptions, anonymous: bool) -> Any:
    # its class for the JSON interface; the other asks by gRPC first what kind a bucket is
    from gcsfs.core import GCSFileSystem

    known = {
        "endpoint_url": options.endpoint_url,
        "project": options.project,
        "requester_pays": options.requester_pays,
        "token": "anon" if anonymous else None,
    }
    system = GCSFileSystem(
        asynchronous=True,
        skip_instance_cache=True,
        use_listings_cache=False,
        requests_timeout=_idle(options),
        **_without_none(known),
    )
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs tracebacks of its attempts
    once = getattr(type(system)._request, "__wrapped__", None)
    if once is not None:
        system._request = once.__get__(system)
    return system


def _http(options: StorageOptions, anonymous: bool) -> Any:
    from fsspec.implementations.http import HTTPFileSystem

    return HTTPFileSystem(
        asynchronous=True,
        skip_instance_cache=True,
        client_kwargs={"timeout": _idle(options), "trust_env": True},
    )


def _idle(options: StorageOptions) -> Any:
    """Time-out of aiohttp: so long without a byte."""
    from aiohttp import ClientTimeout

    seconds = options.timeout_seconds
    return ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


_MAKERS: dict[str, Callable[[StorageOptions, bool], Any]] = {
    **dict.fromkeys(("s3", "s3a"), _s3),
    **dict.fromkeys(("gs", "gcs"), _gs),
    **dict.fromkeys(("http", "https"), _http),
}
