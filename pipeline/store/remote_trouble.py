"""What went wrong between here and a remote store, in words, and whether waiting may help."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.errors import InputError, StoreError
from pipeline.store.place import RemotePlace, StorageOptions

PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP: too slow, too many requests, an error within the server."""
NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError"})
OTHER_REGION = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
CUT_SHORT = frozenset(
    {"ClientPayloadError", "IncompleteRead", "ResponseStreamingError", "TruncatedError"}
)
"""Names of exceptions of the libraries, which are imported only where they are used."""
SECRETS_IN_URL = re.compile(r"(?<=//)[^/\s@]+@|\?\S+")
MISCONFIGURED = frozenset({"ProfileNotFound", "ConfigParseError", "InvalidConfigError"})


class TruncatedError(OSError):
    """Fewer bytes came than were asked for."""


@dataclass(frozen=True)
class Trouble:
    """Why a request failed.

    Parameters
    ----------
    what
        For people: what happened.
    advice
        For people: what to do; may be empty.
    passing
        Whether the same request may succeed later.
    """

    what: str
    advice: str = ""
    passing: bool = False

    def error(self, url: str, attempts: int) -> InputError:
        """The error to raise after so many attempts: one line."""
        tried = f" ({attempts} attempts)" if attempts > 1 else ""
        advice = f"; {self.advice}" if self.advice else ""
        kind = StoreError if self.passing else InputError
        return kind(f"{url}: {self.what}{tried}{advice}")


def explain(error: BaseException, place: RemotePlace, *, anonymous: bool) -> Trouble:
    """What an exception of fsspec, aiohttp, botocore or gcsfs means.

    Parameters
    ----------
    error
        As it was raised.
    place
        What was asked for.
    anonymous
        Whether without credentials.
    """
    chain = list(_chain(error))
    names = {cls.__name__ for one in chain for cls in type(one).__mro__}
    code, status = _code(chain), _status(chain)
    if names & MISCONFIGURED:
        return Trouble(_reason(error), "correct --storage-option profile or the configuration")
    if names & NO_CREDENTIALS:
        return Trouble(
            "no credentials were found",
            "give them by the environment, --storage-option profile=NAME, or, for a public "
            "bucket, --storage-option anon=true",
        )
    if code in OTHER_REGION or status == 301:
        return Trouble(
            "the bucket lies in another region",
            "give --storage-option region=NAME, e.g. eu-central-1",
        )
    if code == "NoSuchBucket":
        return Trouble("there is no such bucket", "check the address and the endpoint")
    if status in (401, 403) or any(isinstance(one, PermissionError) for one in chain):
        return _denied(code, place, anonymous)
    return _no_answer(error, chain, names, status, place.options)


def lacks_credentials(error: BaseException) -> bool:
    """Whether none were found, so that one may ask without."""
    return any(type(one).__name__ in NO_CREDENTIALS for one in _chain(error))


def without_secrets(text: str) -> str:
    """A text of libraries without user names, passwords and signatures of its addresses."""
    return SECRETS_IN_URL.sub("", text)


def is_missing_bucket(error: BaseException) -> bool:
    """Whether not only the object is missing but all of its bucket."""
    return _code(list(_chain(error))) == "NoSuchBucket"


def _denied(code: str, place: RemotePlace, anonymous: bool) -> Trouble:
    named = f" ({code})" if code and not code.isdecimal() else ""
    if place.protocol in ("http", "https"):
        return Trouble(
            f"access denied{named}",
            "the server may want a login (~/.netrc), or hide what is missing",
        )
    if anonymous:
        return Trouble(f"access denied{named} without credentials", "give some by the environment")
    return Trouble(
        f"access denied{named}",
        "check that the credentials may read (and list) it; some buckets also answer so for "
        "objects that are missing",
    )


def _no_answer(
    error: BaseException,
    chain: list[BaseException],
    names: set[str],
    status: int | None,
    options: StorageOptions,
) -> Trouble:
    """What the network or the server's state is to blame for, or else the unknown."""
    later = "try again later: the same command goes on"
    if names & CUT_SHORT:  # before the status, for aiohttp gives it one
        return Trouble("the data ended too early", f"the object may be damaged; or {later}", True)
    if status is not None and status in PASSING_STATUS:
        slow = " (slow down)" if status in (429, 503) else ""
        return Trouble(f"the store answers with error {status}{slow}", later, passing=True)
    if status is not None and status >= 400:
        return Trouble(f"the store answers with error {status}: {_reason(error)}")
    unknown = [one for one in chain if isinstance(one, socket.gaierror)]
    if unknown:
        final = unknown[0].errno == socket.EAI_NONAME
        advice = "check the address, the endpoint and the network"
        return Trouble("the server's name is not known (DNS)", advice, passing=not final)
    if any(isinstance(one, TimeoutError) for one in chain) or "ReadTimeoutError" in names:
        return Trouble(
            f"no answer within {options.timeout_seconds:g} s",
            f"{later}, or wait longer with --storage-option timeout_seconds=N",
            passing=True,
        )
    if any(_is_of_network(one) for one in chain) or "HTTPClientError" in names:
        advice = f"check the endpoint and the network, or {later}"
        return Trouble(f"cannot be reached ({_reason(error)})", advice, passing=True)
    return Trouble(f"cannot be read ({_reason(error)})")


def _is_of_network(error: BaseException) -> bool:
    if isinstance(error, ConnectionError):
        return True
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"ClientConnectionError", "EndpointConnectionError", "FSTimeoutError"}:
        return True
    known = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EREMOTEIO, errno.EBUSY)
    return isinstance(error, OSError) and error.errno in known


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and what caused it."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        os_error = getattr(one, "os_error", None)  # of aiohttp
        if isinstance(os_error, BaseException):
            yield os_error
        one = one.__cause__ or one.__context__


def _code(chain: list[BaseException]) -> str:
    """The store's own word, e.g. ``NoSuchBucket``; empty if there is none."""
    for one in chain:
        response = getattr(one, "response", None)
        if isinstance(response, dict) and isinstance(response.get("Error"), dict):
            return str(response["Error"].get("Code", ""))
    return ""


def _status(chain: list[BaseException]) -> int | None:
    """HTTP status."""
    for one in chain:
        response = getattr(one, "response", None)
        found = [getattr(one, "status", None), getattr(one, "code", None)]
        if isinstance(response, dict):
            found.append(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
        for status in found:
            if str(status).isdecimal():
                return int(str(status))
        if isinstance(one, OSError) and str(one).startswith("Forbidden"):  # of gcsfs
            return 403
    return None


def _reason(error: BaseException) -> str:
    """One line without what may be secret."""
    text = " ".join(without_secrets(str(error)).split())
    return text[:160] if text else type(error).__name__
