"""The store that a run writes: OME-NGFF 0.5, sharded, every chunk with a checksum."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray
from pydantic import ValidationError

from pipeline.contract import ArraySpec, Box, Table, TableSpec, Triple
from pipeline.errors import OutputError
from pipeline.store.arrays import check_files, create_volume_array, open_array, read_box, write_box
from pipeline.store.background import BackgroundBlocks
from pipeline.store.input_grid import InputGrid
from pipeline.store.input_labels import InputLabels
from pipeline.store.layout import (
    ROOT_IMAGE,
    Geometry,
    Level,
    Nanometres,
    group_path,
    pyramid_levels,
    table_path,
)
from pipeline.store.ngff import channel_window, image_attributes
from pipeline.store.nodes import (
    MARK,
    Node,
    read_node,
    remove_directory,
    remove_leftovers,
    write_group,
)
from pipeline.store.ownership import LAYOUT, STORE_VERSION, StoreLayout, check_apart, make_room
from pipeline.store.place import Place, as_place
from pipeline.store.pyramid import Kind, Pyramid
from pipeline.store.rows import StoredRows
from pipeline.store.tables import (
    check_columns,
    column_names,
    create_columns,
    finish_columns,
    has_columns,
    read_column_attributes,
    read_columns,
    remove_columns,
    write_columns,
    write_rows,
)
from pipeline.store.volume import Volume


@dataclass(frozen=True)
class Output:
    """A store of this program; a small value that can be sent to workers.

    Parameters
    ----------
    path
        Directory, e.g. ``volume.neurons.zarr``.
    shape
        zyx, in voxels, of every volume in it.
    voxel_size_nm
        zyx, in nanometres.
    translation_nm
        zyx, centre of the first voxel, in nanometres.
    block_shape
        zyx, in voxels: the write block. One file of level 0 holds exactly one.
    """

    path: Path
    shape: Triple
    voxel_size_nm: Nanometres
    translation_nm: Nanometres
    block_shape: Triple

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        volume: Geometry,
        block_shape: Triple,
        source: str | Place | None = None,
        overwrite: bool = False,
    ) -> Self:
        """Make an empty store.

        Parameters
        ----------
        path
            Where; must not exist, be empty, or (with ``overwrite``) be a store of ours.
        volume
            Its shape and place.
        block_shape
            zyx, in voxels.
        source
            The input, which is never written to; known already if ``volume`` is a ``Volume``.
        overwrite
            Remove the store of an earlier run.

        Raises
        ------
        OutputError
            If something else is there, or input and output lie inside each other.
        """
        path = Path(path)
        inputs = [as_place(source)] if source is not None else []
        if isinstance(volume, Volume):
            inputs += [volume.path, volume.source.node.path]
        for one in inputs:
            check_apart(one, path)
        make_room(path, overwrite)
        output = cls(path, volume.shape, volume.voxel_size_nm, volume.translation_nm, block_shape)
        partial = path.absolute().with_name(f".{path.absolute().name}.{uuid.uuid4().hex}.partial")
        try:
            layout = StoreLayout(
                version=STORE_VERSION,
                shape=output.shape,
                voxel_size_nm=output.voxel_size_nm,
                translation_nm=output.translation_nm,
                block_shape=output.block_shape,
            )
            write_group(partial, {MARK: {LAYOUT: layout.model_dump(mode="json")}})
            write_group(partial / "labels", {"ome": {"version": "0.5", "labels": []}})
            write_group(partial / "graph", {})
            partial.rename(path.absolute())
        except OSError as error:
            raise OutputError(f"{path}: cannot be created ({error.strerror or error})") from error
        return output

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a store of ours.

        Raises
        ------
        OutputError
            If it is missing, not ours, damaged, or of another version of the layout.
        """
        path = Path(path)
        node = _existing_node(path)
        found = node.attributes.get(MARK, {}).get(LAYOUT) if node else None
        if not isinstance(found, dict):
            raise OutputError(f"{path}: is not an output store of this program")
        if found.get("version") != STORE_VERSION:
            raise OutputError(
                f"{path}: has store version {found.get('version')}, this program writes "
                f"{STORE_VERSION}; use another --output or --overwrite"
            )
        try:
            layout = StoreLayout.model_validate(found)
        except ValidationError as error:
            where = ", ".join(str(one["loc"][0]) for one in error.errors())
            raise OutputError(f"{path}: its layout attributes are damaged ({where})") from error
        place = (layout.voxel_size_nm, layout.translation_nm)
        return cls(path, layout.shape, *place, layout.block_shape)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Levels of every pyramid in the store, finest first."""
        return pyramid_levels(self.shape, self.voxel_size_nm, self.translation_nm)

    @property
    def attributes(self) -> dict[str, Any]:
        """What this program noted in the store: configuration, provenance, layout."""
        node = _existing_node(self.path)
        return dict(node.attributes.get(MARK, {})) if node else {}

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set or replace keys of ``attributes``; other keys and other tools' stay."""
        if LAYOUT in attributes:
            raise AssertionError(f"{LAYOUT!r} is set when the store is made")
        self._update(self.path, {MARK: {**self.attributes, **attributes}})

    def has_array(self, name: str) -> bool:
        """Whether level 0 of an array was created."""
        return (self._array(name) / "zarr.json").is_file()

    def create_array(self, spec: ArraySpec) -> None:
        """Create level 0 of an array, empty; an old one and its pyramid are removed."""
        if (spec.kind == "image") != (spec.name == ROOT_IMAGE):
            raise AssertionError(f"the store has one image, {ROOT_IMAGE}; {spec.name} is none")
        self.remove(spec.name)
        if spec.kind == "labels":
            write_group(self._group(spec.name), {})
        create_volume_array(self._array(spec.name), self.shape, spec.dtype, self.block_shape)

    def write(self, name: str, box: Box, data: NDArray[Any]) -> None:
        """Write a block (or several), voxels of level 0; never a part of a file."""
        write_box(self._array(name), box, data)

    def read(self, name: str, box: Box) -> NDArray[Any]:
        """Voxels of level 0; 0 in background blocks, which no stage after foreground writes.

        Raises
        ------
        OutputError
            If the array or another file of the box is missing, empty or damaged; names it.
        """
        return read_box(self._array(name), box, self.background)

    def verify(self, name: str, box: Box) -> None:
        """Check that the files of a box are there and not empty; background blocks have none.

        Raises
        ------
        OutputError
            Naming the array, the block and the file.
        """
        check_files(self._array(name), open_array(self._array(name)), box, self.background)

    def remove(self, name: str) -> None:
        """Remove an array with its pyramid and metadata; nothing happens if it is not there."""
        self._unlist(name)
        if name == ROOT_IMAGE:
            for level in [p for p in self.path.iterdir() if p.name.isdecimal()]:
                remove_directory(level)
            return
        remove_directory(self._group(name))

    def remove_leftovers(self) -> None:
        """Remove what kills in the middle of a removal left of arrays and tables."""
        groups = [self.path / "labels", self.path / "graph"]
        inner = [one for group in groups if group.is_dir() for one in group.iterdir()]
        for folder in (self.path, *groups, *inner):
            remove_leftovers(folder)

    @property
    def pyramid_levels(self) -> int:
        """Number of coarser levels of every pyramid."""
        return len(self.levels) - 1

    @property
    def background(self) -> BackgroundBlocks:
        """Write blocks without tissue; none before stage ``foreground`` is finished."""
        return self._background(0)

    def create_level(self, name: str, level: int) -> None:
        """Make a coarser level of an array, empty; the array is not listed as an image any more.

        Parameters
        ----------
        name
            An array with its finer levels.
        level
            From 1 to ``pyramid_levels``.
        """
        self._unlist(name)
        self._pyramid(name).create(level)

    def has_level(self, name: str, level: int) -> bool:
        """Whether a coarser level was created, so that it can be gone on with."""
        return self._pyramid(name).has_level(level)

    def missing_blocks(self, name: str, level: int, indices: Iterable[Triple]) -> Iterator[Triple]:
        """Those blocks of a level that have no file, or an empty one; one look at each.

        Parameters
        ----------
        name
            Of an array.
        level
            0 or coarser.
        indices
            Of blocks along z, y, x.
        """
        return self._pyramid(name).missing(level, indices)

    def level_blocks(self, level: int) -> list[Triple]:
        """Blocks of a level that are to be written, background left out; one is one file."""
        return self._pyramid(ROOT_IMAGE).blocks(level)

    def write_level_block(self, name: str, kind: Kind, level: int, index: Triple) -> None:
        """Compute one block of a level from the level before it; several processes may.

        Parameters
        ----------
        name
            An array whose finer levels are complete.
        kind
            ``image``: mean. ``labels``: mode (see ``pyramid.downsample_mode``).
        level
            From 1 to ``pyramid_levels``; made by ``create_level``.
        index
            One of ``level_blocks``.

        Raises
        ------
        OutputError
            If a file of the level before is missing or damaged.
        """
        self._pyramid(name).write(level, kind, index)

    def finish_pyramid(self, name: str, kind: Kind) -> None:
        """List the levels of an array in its metadata, so that viewers find it.

        Parameters
        ----------
        name
            An array with all its levels.
        kind
            ``image`` or ``labels``.

        Raises
        ------
        OutputError
            If a file of a level is missing or empty.
        """
        self._pyramid(name).check()
        group = self._group(name)
        if kind == "image":
            ome = image_attributes(self.levels, name, "mean")
            self._update(group, {"ome": {**ome, "omero": channel_window(name, 0, 255)}})
        else:
            ome = image_attributes(self.levels, name, "mode")
            self._update(group, {"ome": {**ome, "image-label": {"source": {"image": "../../"}}}})
            self._list_label(name, present=True)

    def input_labels(self, name: str, source: str, grid: InputGrid) -> InputLabels:
        """The copy of a label array on the grid of the input, to be written file by file.

        Parameters
        ----------
        name
            Of the copy.
        source
            A label array, complete before the first file is written.
        grid
            Of the input.
        """
        return InputLabels(
            self._group(name),
            self._array(source),
            self.shape,
            grid,
            self.block_shape,
            self.background,
        )

    def create_input_labels(self, labels: InputLabels) -> None:
        """Make such a copy, empty; an old one is removed."""
        self.remove(labels.group.name)
        write_group(labels.group, {})
        labels.create()

    def finish_input_labels(self, labels: InputLabels) -> None:
        """List such a copy in the metadata, so that viewers find it.

        Raises
        ------
        OutputError
            If a file is missing or empty.
        """
        labels.check()
        ome = image_attributes([labels.level], labels.group.name, "nearest")
        source = {"image-label": {"source": {"image": "../../"}}}
        self._update(labels.group, {"ome": {**ome, **source}})
        self._list_label(labels.group.name, present=True)

    def create_table(
        self,
        spec: TableSpec,
        widths: Mapping[str, int],
        rows: int,
        attributes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Make columns of ``graph/<name>`` to be filled by ``write_rows``; others stay.

        Parameters
        ----------
        spec
            The columns.
        widths
            Column -> numbers in a row, of columns with several.
        rows
            Of all of them.
        attributes
            Column -> JSON attributes, e.g. names and units of features.
        """
        create_columns(self._table(spec.name), spec.columns, widths, rows, attributes)

    def write_rows(self, name: str, columns: Table, begin: int) -> None:
        """Write whole files of created columns; several processes may, of different rows.

        Parameters
        ----------
        name
            Of the table.
        columns
            Name -> (rows, ...) array, to a multiple of ``ROWS`` or the table's end.
        begin
            First row, a multiple of ``ROWS``.
        """
        write_rows(self._table(name), columns, begin)

    def finish_table(self, name: str, columns: Sequence[str]) -> None:
        """Give created columns their names; before that, nobody sees them.

        Raises
        ------
        OutputError
            If a file is missing or empty; names it.
        """
        finish_columns(self._table(name), columns)

    def has_partial(self, name: str, columns: Sequence[str], rows: int) -> bool:
        """Whether an interrupted run created these columns, so that it can be gone on with."""
        return has_columns(self._table(name), columns, rows)

    def verify_table(self, name: str, columns: Sequence[str]) -> None:
        """Check that every file of finished columns is there and not empty.

        Raises
        ------
        OutputError
            Naming the column and the file.
        """
        check_columns(self._table(name), columns)

    def write_table(
        self,
        name: str,
        columns: Table,
        attributes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Create, write and finish columns that are in memory; other columns stay."""
        write_columns(self._table(name), columns, attributes)

    def read_table(self, name: str, columns: Sequence[str] | None = None) -> Table:
        """Whole columns of a table, all by default.

        Raises
        ------
        OutputError
            If the table or a column is missing or damaged.
        """
        return read_columns(self._table(name), columns)

    def rows(self, name: str, columns: Sequence[str]) -> StoredRows:
        """Columns of a table, of which ranges are read when they are asked for."""
        return StoredRows(self._table(name), columns)

    def read_attributes(self, name: str) -> dict[str, dict[str, Any]]:
        """Attributes of every column of a table."""
        return read_column_attributes(self._table(name))

    def remove_table(self, name: str, columns: Sequence[str] | None = None) -> None:
        """Remove columns of a table, all by default."""
        folder = self._table(name)
        if folder.is_dir():
            remove_columns(folder, column_names(folder) if columns is None else columns)

    def _group(self, name: str) -> Path:
        return self.path / group_path(name)

    def _array(self, name: str) -> Path:
        return self._group(name) / "0"

    def _table(self, name: str) -> Path:
        return self.path / table_path(name)

    def _background(self, level: int) -> BackgroundBlocks:
        return BackgroundBlocks(self.path, self.levels, self.block_shape, level)

    def _pyramid(self, name: str) -> Pyramid:
        background = [self._background(level) for level in range(len(self.levels))]
        return Pyramid(self._group(name), self.levels, self.block_shape, background)

    def _unlist(self, name: str) -> None:
        """Take an image out of what viewers read, whatever is left of it."""
        group = self._group(name)
        if name != ROOT_IMAGE:
            self._list_label(name, present=False)
        if (group / "zarr.json").is_file():
            self._update(group, {"ome": None})

    def _list_label(self, name: str, *, present: bool) -> None:
        """Name a label image in, or take it out of, the list that viewers read."""
        node = _existing_node(self.path / "labels")
        listed = set(node.attributes.get("ome", {}).get("labels", []) if node else [])
        names = sorted(listed | {name} if present else listed - {name})
        write_group(self.path / "labels", {"ome": {"version": "0.5", "labels": names}})

    def _update(self, group: Path, changes: Mapping[str, Any]) -> None:
        """Replace some attributes of a group; ``None`` removes one."""
        node = _existing_node(group)
        attributes = {**(node.attributes if node else {}), **changes}
        write_group(group, {key: value for key, value in attributes.items() if value is not None})


def _existing_node(path: Path) -> Node | None:
    try:
        return read_node(path)
    except ValueError as error:
        raise OutputError(str(error)) from error
