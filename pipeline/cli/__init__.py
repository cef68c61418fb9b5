"""The command line: one small file a verb; errors of ours are one line and exit code 2."""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Sequence
from typing import NoReturn

import typer
from typer.main import get_command

from pipeline.cli import (
    demo,
    evaluate,
    features,
    importing,
    inspect_volume,
    reproduce,
    run,
    show_config,
    status,
    synth,
    train,
)
from pipeline.errors import PipelineError

OF_THE_MACHINE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
    *(errno.EISDIR, errno.ENOTDIR),
)
"""Not allowed, read only, full, a folder for a file: people can do something about these."""

BEGIN, END = 350, 120
"""Characters of a very long message that are shown."""

app = typer.Typer(
    name="pipeline",
    help="From a chunked EM volume to scored 3D neurons.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("run")(run.run)
app.command("status")(status.status)
app.command("evaluate")(evaluate.evaluate)
app.command("import")(importing.import_volume)
app.command("inspect")(inspect_volume.inspect)
app.command("features")(features.features)
app.command("show-config")(show_config.show_config)
app.command("reproduce")(reproduce.reproduce)
app.command("synth")(synth.synth)
app.add_typer(train.app, name="train")


class _StandardError(logging.Handler):
    """Lines on standard error, which a progress bar may have replaced since."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message."""
        print(self.format(record), file=sys.stderr, flush=True)


LINES = _StandardError(logging.INFO)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 2 an error of the user's, 1 one of ours, 130 Ctrl-C."""
    for name in ("pipeline", "workflows"):
        log = logging.getLogger(name)
        log.addHandler(LINES)
        log.setLevel(logging.INFO)
    try:
        get_command(app)(
            args=list(arguments) if arguments is not None else None, prog_name="pipeline"
        )
    except PipelineError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in OF_THE_MACHINE:
            raise
        _fail(f"{error.filename or 'writing'}: {error.strerror}")


def _fail(message: str) -> NoReturn:
    line = " ".join(message.split())
    if len(line) > BEGIN + END:
        line = f"{line[:BEGIN]} ... {line[-END:]}"
    print(f"error: {line}", file=sys.stderr)
    raise SystemExit(2) from None
