"""What lies in an HDF5 file, and which of it is meant; links are followed inside the file only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py

from pipeline.errors import InputError

LISTED = 20
MOST_LINKS = 16
LEAST_AXES = 3
NUMBERS = "biuf"


def find_dataset(path: str, container: Any, name: str | None) -> Any:
    """The named dataset, or the only usable one.

    Parameters
    ----------
    path
        For messages.
    container
        An open ``h5py.File``.
    name
        Slash-separated; ``None``: the only dataset of numbers with three or more axes.

    Raises
    ------
    InputError
        If it is not there, is a group, or several could be meant; lists what there is.
    """
    if name is not None:
        return _named(path, container, name)
    usable = [dataset for dataset in datasets(container) if is_usable(dataset)]
    if len(usable) == 1:
        return usable[0]
    if not usable:
        raise InputError(
            f"{path}: holds no dataset of numbers with 3 or more axes; {_listed(container)}"
        )
    raise InputError(f"{path}: which dataset is meant? {_listed(container)}; give {path}:NAME")


def datasets(container: Any) -> Iterator[Any]:
    """All datasets, each once, in order of their names; links by name are not followed."""
    seen: set[Any] = set()
    groups = [container]
    while groups:
        group = groups.pop(0)
        for key in sorted(group):
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                continue
            item = group[key]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Dataset):
                yield item
            elif isinstance(item, h5py.Group):
                groups.append(item)


def is_usable(dataset: Any) -> bool:
    """Whether it can be a volume."""
    return dataset.ndim >= LEAST_AXES and dataset.dtype.kind in NUMBERS and 0 not in dataset.shape


def show_dataset(dataset: Any) -> str:
    """Name, shape and dtype."""
    return f"{dataset.name.lstrip('/')} {dataset.shape} {dataset.dtype}"


def _named(path: str, container: Any, name: str) -> Any:
    """Walk down a name, looking at every link before it is followed."""
    group, parts, links = container, _split(name), 0
    while parts:
        key = parts.pop(0)
        link = group.get(key, getlink=True) if isinstance(group, h5py.Group) else None
        if isinstance(link, h5py.ExternalLink):
            raise InputError(
                f"{path}: {name!r} is a link into another file ({link.filename}:{link.path}), "
                "which is not followed; give that file"
            )
        if link is None or links > MOST_LINKS:
            by_link = ": it is a link that leads nowhere" if links else ""
            raise InputError(f"{path}: has no dataset {name!r}{by_link}; {_listed(container)}")
        if isinstance(link, h5py.SoftLink):
            links += 1
            parts = _split(link.path) + parts
            group = container if link.path.startswith("/") else group
        else:
            group = group[key]
    return _checked(path, container, name, group)


def _checked(path: str, container: Any, name: str, found: Any) -> Any:
    if not isinstance(found, h5py.Dataset):
        raise InputError(f"{path}: {name!r} is a group, not a dataset; {_listed(container)}")
    if found.ndim < LEAST_AXES:
        raise InputError(
            f"{path}: {name!r} has shape {found.shape}; a volume of 3 or more axes is needed; "
            f"{_listed(container)}"
        )
    return found


def _split(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]


def _listed(container: Any) -> str:
    """The datasets that could be meant, or if there are none all."""
    everything = list(datasets(container))
    shown = [one for one in everything if is_usable(one)] or everything
    if not shown:
        return "it holds no dataset at all"
    listed = ", ".join(show_dataset(one) for one in shown[:LISTED])
    more = f" and {len(shown) - LISTED} more" if len(shown) > LISTED else ""
    return f"inside are: {listed}{more}"
