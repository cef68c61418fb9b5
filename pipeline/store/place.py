"""Where a zarr lies: a folder of this machine, or an address in an object store or on the web."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ConfigError, InputError

ADDRESS = re.compile(r"^(?P<protocol>[A-Za-z][A-Za-z0-9+.-]*)://")
LOGIN = re.compile(r"^[^:/]+://([^/]*@|[^/]*:(?!\d*(/|$)).*@)")
"""A name or password before the server; a password may hold / where it was not quoted."""
EVERYWHERE = frozenset({"attempts", "pause_seconds", "timeout_seconds"})
"""Options that every protocol knows."""
OPTIONS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(
        ("s3", "s3a"), frozenset({"anon", "endpoint_url", "profile", "region", "requester_pays"})
    ),
    **dict.fromkeys(
        ("gs", "gcs"), frozenset({"anon", "endpoint_url", "project", "requester_pays"})
    ),
    **dict.fromkeys(("http", "https"), frozenset()),
}
"""Protocol -> options that it knows beside those of all."""


class StorageOptions(BaseModel):
    """How a remote store is reached; nothing in here is secret, so it may be written down.

    Keys, secrets and tokens come from where the store's own tools look for them: environment,
    configuration files, the role of the machine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    anon: bool | None = Field(
        None, description="Read without credentials; by default only where there are none."
    )
    endpoint_url: str | None = Field(
        None, description="Address of a store that is not the provider's own, e.g. of MinIO."
    )
    profile: str | None = Field(None, description="Section of ~/.aws that holds the credentials.")
    region: str | None = Field(None, description="Region of the bucket, e.g. eu-central-1.")
    requester_pays: bool | None = Field(
        None, description="Agree to pay for the requests, where the bucket's owner does not."
    )
    project: str | None = Field(None, description="Google Cloud project that is billed.")
    attempts: int = Field(5, ge=1, le=20, description="Of one request, before it is given up.")
    pause_seconds: float = Field(
        2.0, ge=0, le=60, description="Before the second attempt; later pauses grow 2.5-fold to 30."
    )
    timeout_seconds: float = Field(
        60.0, gt=0, le=3600, description="A request that brings no byte for so long has failed."
    )

    def given(self) -> dict[str, str | bool | int | float]:
        """What differs from the defaults; ``StorageOptions(**given)`` is the same again."""
        return self.model_dump(exclude_defaults=True)


def parse_storage_options(pairs: Sequence[str]) -> StorageOptions:
    """``["anon=true", "region=eu-central-1"]`` -> options.

    Raises
    ------
    ConfigError
        If one is malformed or not known, e.g. because it would be a secret. Values of those that
        are not known are not repeated.
    """
    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError("--storage-option: give key=value, e.g. anon=true")
        if key not in StorageOptions.model_fields:
            raise ConfigError(
                f"--storage-option {key}: is not known; there are "
                f"{', '.join(StorageOptions.model_fields)}. Keys and tokens are taken from the "
                "environment or the store's own configuration files only"
            )
        values[key] = value
    try:
        options = StorageOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"--storage-option {first['loc'][0]}: {first['msg']}") from error
    if options.endpoint_url is not None:
        if not options.endpoint_url.startswith(("http://", "https://")):
            raise ConfigError("--storage-option endpoint_url: must begin with http:// or https://")
        _check_address(options.endpoint_url, "--storage-option endpoint_url")
    return options


@dataclass(frozen=True)
class RemotePlace:
    """An address; behaves like a ``Path`` where code needs nothing but a path's text.

    Parameters
    ----------
    url
        ``s3://bucket/volume.zarr`` and the like, without ``/`` at its end.
    options
        How it is reached.
    """

    url: str
    options: StorageOptions = field(default_factory=StorageOptions)

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, relative: str) -> RemotePlace:
        return RemotePlace(f"{self.url}/{relative.strip('/')}", self.options)

    @property
    def protocol(self) -> str:
        """``s3``, ``gs``, ``https``, ..."""
        return self.url.partition("://")[0]

    @property
    def can_list(self) -> bool:
        """Whether the store can say which objects there are; a web server cannot."""
        return self.protocol not in ("http", "https")

    @property
    def name(self) -> str:
        """Last part of the address."""
        return unquote(self.url).rpartition("/")[2]

    @property
    def parent(self) -> RemotePlace:
        """One level up; that of a bucket or server is itself."""
        above = self.url.rpartition("/")[0]
        return self if above.endswith("/") else RemotePlace(above, self.options)

    def absolute(self) -> RemotePlace:
        """Itself: an address means the same in every folder."""
        return self

    def resolve(self) -> RemotePlace:
        """Itself."""
        return self


Place = Path | RemotePlace
"""Where a zarr lies."""


def as_place(path: str | Place, options: StorageOptions | None = None) -> Place:
    """A path or an address from its text.

    Parameters
    ----------
    path
        A path, ``file://...``, or the address of an object store or web server.
    options
        How an address is reached.

    Raises
    ------
    InputError
        If nothing can be read from such an address, or it holds a secret.
    ConfigError
        If its protocol does not know an option.
    """
    if not isinstance(path, str):
        return path
    match = ADDRESS.match(path)
    if match is None:
        return Path(path)
    protocol = match["protocol"].lower()
    _check_address(path, "the address")
    if protocol == "file" and urlsplit(path).netloc in ("", "localhost"):
        return Path(unquote(urlsplit(path).path))
    if protocol not in OPTIONS or "::" in path:
        raise InputError(
            f"{path}: cannot be read from; known are paths, file:// and "
            f"{', '.join(f'{one}://' for one in OPTIONS)}"
        )
    place = RemotePlace(
        f"{protocol}://{path[match.end() :].strip('/')}", options or StorageOptions()
    )
    _check_options(place)
    return place


def _check_options(place: RemotePlace) -> None:
    known = OPTIONS[place.protocol] | EVERYWHERE
    for name in place.options.given():
        if name not in known:
            raise ConfigError(
                f"--storage-option {name}: {place.protocol}:// does not know it, only "
                f"{', '.join(sorted(known))}"
            )


def _check_address(url: str, what: str) -> None:
    """Addresses are written into the output, so they must be fit to be read by anybody."""
    if LOGIN.match(url):
        raise InputError(
            f"{what} holds a user name or password ({url.partition('://')[0]}://...@...), which "
            "would be kept in the output; put it into ~/.netrc or the store's own configuration"
        )
    try:
        parts = urlsplit(url)
        named = bool(parts.netloc) or parts.scheme == "file"
        if parts.scheme in ("http", "https"):
            _ = parts.port
    except ValueError as error:
        raise InputError(f"{what} is malformed ({error})") from error
    if not named:
        raise InputError(f"{what} {url} names no bucket or server")
    if parts.query or parts.fragment:
        raise InputError(
            f"{what} {parts.scheme}://{parts.netloc}{parts.path} has an end from ? or # on, as "
            "signed addresses have; a zarr is many objects, so leave it out and give credentials "
            "by the environment"
        )
