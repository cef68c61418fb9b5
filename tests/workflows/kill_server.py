"""Starts runs in processes that a test kills; see ``interrupted_runs``."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

from small_pipeline import SECTIONS_NM

from pipeline.config import PipelineSections

HERE = Path(__file__).parent


class Server:
    """A process that has imported everything and forks a run on demand.

    Parameters
    ----------
    rows
        Rows of tables that one task writes; few, so that small tables make many tasks.
    """

    def __init__(self, rows: int = 64) -> None:
        root = HERE.parents[1]
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed in __exit__)
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "interrupted_runs.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            bufsize=1,
            cwd=root,
            env={
                **os.environ,
                "PYTHONPATH": f"{root}{os.pathsep}{HERE.parent}",
                "NEURON_PIPELINE_ROWS": str(rows),
            },
        )
        assert self._read() == ["ready"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self.errors.close()

    def warm(
        self,
        config: PipelineSections,
        voxel_size_nm: tuple[float, float, float] = SECTIONS_NM,
    ) -> None:
        """Load what runs would load for themselves."""
        arguments = {"warm": config.model_dump_json(), "voxel_size_nm": voxel_size_nm}
        assert self._process.stdin
        print(json.dumps(arguments), file=self._process.stdin, flush=True)
        assert self._read() == ["ready"]

    def in_memory(self, volume: Path, arrays: Path, config: PipelineSections, **more: Any) -> None:
        """The run without blocks, as a file of arrays."""
        arguments = {
            "volume": str(volume),
            "arrays": str(arrays),
            "config": config.model_dump_json(),
            **more,
        }
        assert self._process.stdin
        print(json.dumps(arguments), file=self._process.stdin, flush=True)
        assert self._read()[0] == "started"
        assert self.wait() == 0, self.said()

    def start(self, volume: Path, output: Path, config: PipelineSections, **more: Any) -> int:
        """Start a run; its process."""
        arguments = {
            "volume": str(volume),
            "output": str(output),
            "config": config.model_dump_json(),
            **more,
        }
        assert self._process.stdin
        print(json.dumps(arguments), file=self._process.stdin, flush=True)
        word, process = self._read()
        assert word == "started"
        return int(process)

    def wait_for_pause(self) -> None:
        """Until the run is at its moment."""
        word, what = self._read()
        assert word == "paused", f"the run ended ({what}) before its moment"

    def kill_at(self, moment: str, volume: Path, output: Path, config: PipelineSections) -> None:
        """Start a run and kill it, from this process, when it is at the moment."""
        process = self.start(volume, output, config, moment=moment)
        self.wait_for_pause()
        os.kill(process, signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL

    def said(self) -> str:
        """The last that runs wrote to standard error."""
        self.errors.flush()
        self.errors.seek(0)
        return self.errors.read()[-4000:]

    def wait(self, timeout: float | None = None) -> int | None:
        """Exit status of the run, negative for a signal; ``None`` if it goes on."""
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], timeout)
        if not ready:
            return None
        word, status = self._read()
        assert word == "ended", f"{word} {status}"
        return os.waitstatus_to_exitcode(int(status))

    def _read(self) -> list[str]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the server of runs is gone"
        return line.split()
