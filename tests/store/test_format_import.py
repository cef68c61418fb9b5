"""One volume in every format with a library of its own: found by its path, imported, the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import nibabel
import numpy as np
import pytest
import tensorstore
from foreign_volumes import random_volume

from pipeline.contract import Box
from pipeline.errors import InputError
from pipeline.store.importers.importing import import_volume
from pipeline.store.importers.locating import locate

VOLUME = random_volume((20, 33, 37), "uint16")
SIZE = (40.0, 8.0, 4.0)


def hdf5(path: Path) -> str:
    with h5py.File(path / "v.h5", "w") as file:
        file.create_dataset("volumes/raw", data=VOLUME, chunks=(6, 10, 12), compression="gzip")
        file["volumes/raw"].attrs["resolution"] = SIZE
        file["volumes/other"] = VOLUME
    return f"{path}/v.h5:volumes/raw"


def nifti(path: Path) -> str:
    image = nibabel.Nifti1Image(VOLUME.transpose(), np.eye(4))
    image.header.set_xyzt_units("micron")
    image.header.set_zooms((0.004, 0.008, 0.04))
    nibabel.save(image, path / "v.nii.gz")
    return f"{path}/v.nii.gz"


def mrc(path: Path) -> str:
    with mrcfile.new(path / "v.mrc") as file:
        file.set_data(VOLUME.transpose(2, 0, 1).copy())
        file.header.mapc, file.header.mapr, file.header.maps = 2, 3, 1
        file.header.mx, file.header.my, file.header.mz = VOLUME.shape[::-1]
        file.header.cella.x, file.header.cella.y, file.header.cella.z = (37 * 40, 33 * 80, 20 * 400)
    return f"{path}/v.mrc"


def n5(path: Path) -> str:
    metadata = {"dimensions": [37, 33, 20], "blockSize": [16, 16, 8], "dataType": "uint16"}
    spec = {
        "driver": "n5",
        "kvstore": {"driver": "file", "path": f"{path}/v.n5/em/s0/"},
        "metadata": {**metadata, "compression": {"type": "gzip"}},
    }
    tensorstore.open(spec, create=True).result()[...] = VOLUME.transpose()
    described = {"pixelResolution": {"dimensions": [4, 8, 40], "unit": "nm"}}
    (path / "v.n5" / "em" / "attributes.json").write_text(json.dumps(described))
    return f"{path}/v.n5:em"


def precomputed(path: Path) -> str:
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{path}/v/"},
        "multiscale_metadata": {"data_type": "uint16", "num_channels": 1, "type": "image"},
        "scale_metadata": {
            "size": [37, 33, 20],
            "resolution": [4, 8, 40],
            "chunk_size": [16, 16, 8],
            "encoding": "raw",
        },
    }
    store = tensorstore.open(spec, create=True).result()
    store[..., 0] = VOLUME.transpose()
    return f"precomputed://file://{path}/v"


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (hdf5, "HDF5"),
        (nifti, "NIfTI"),
        (mrc, "MRC"),
        (n5, "N5"),
        (precomputed, "Neuroglancer precomputed"),
    ],
)
def test_the_same_volume_comes_out_of_every_format(
    tmp_path: Path, write: Callable[[Path], str], name: str
) -> None:
    text = write(tmp_path)
    assert locate(text).format.name == name
    volume = import_volume(text, tmp_path / "out.zarr")
    assert volume.voxel_size_nm == SIZE
    assert np.array_equal(volume.read(Box((0, 0, 0), VOLUME.shape)), VOLUME)


def test_knossos_cubes_are_found_and_imported(tmp_path: Path) -> None:
    cube = np.arange(128**3, dtype=np.uint32).astype(np.uint8).reshape(128, 128, 128)
    folder = tmp_path / "exp" / "mag1" / "x0000" / "y0000" / "z0000"
    folder.mkdir(parents=True)
    cube.tofile(folder / "exp_mag1_x0000_y0000_z0000.raw")
    conf = "".join(
        f"boundary {a} {n};\nscale {a} 9.0;\n" for a, n in zip("xyz", (90, 80, 70), strict=True)
    )
    (tmp_path / "exp" / "mag1" / "knossos.conf").write_text(conf)
    assert locate(str(tmp_path / "exp")).format.name == "Knossos"
    volume = import_volume(tmp_path / "exp", tmp_path / "out.zarr")
    assert volume.voxel_size_nm == (9.0, 9.0, 9.0)
    found = volume.read(Box((0, 0, 0), volume.shape))
    assert np.array_equal(found, cube[:70, :80, :90])


@pytest.mark.parametrize("scheme", ["gs", "s3", "https", "precomputed://gs"])
def test_addresses_without_another_format_are_precomputed_volumes(scheme: str) -> None:
    located: Any = locate(f"{scheme}://host/path:8080/volume")
    assert located.format.name == "Neuroglancer precomputed"


def test_an_n5_behind_an_address_is_refused() -> None:
    with pytest.raises(InputError, match="no format that can be imported"):
        locate("s3://bucket/volume.n5")


def test_the_link_of_a_view_is_not_cut_at_a_colon() -> None:
    link = 'https://host/#!{"layers":[{"type":"image","source":"precomputed://gs://em/v"}]}'
    located = locate(link)
    assert (located.path, located.dataset) == (link, None)
    assert located.format.name == "Neuroglancer precomputed"
