"""Execute notebooks that were taken along, each in an empty folder, by the environment of the Python that runs this.

`env/bin/python empty_folder.py _build/notebooks/*.ipynb` needs nbclient and ipykernel there, and nothing of this book
but what those notebooks install. A line for each; a notebook whose cell fails is named at the end, and the exit is 1.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import zmq
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

# What a kernel is told of the session that starts it: no path of Python, none of the book's variables.
KEPT = ("PATH", "LANG", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "SSL_CERT_FILE")


def executed(source: Path, timeout: float = 600) -> int:
    """How many code cells of the notebook ran in a folder that held nothing, with a home that held nothing."""
    notebook = nbformat.read(source, as_version=4)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as home:
        env = {name: os.environ[name] for name in KEPT if name in os.environ} | {"HOME": home}
        where = {"metadata": {"path": folder}}
        private = Config({"KernelManager": {"transport_encryption": "auto" if zmq.has("curve") else "disabled"}})
        client = NotebookClient(notebook, timeout=timeout, kernel_name="python3", resources=where, config=private)
        client.execute(env=env)
    return sum(bool(cell.get("execution_count")) for cell in notebook.cells if cell.cell_type == "code")


def main(sources: list[Path]) -> int:
    failed = []
    for source in sources:
        begun = time.monotonic()
        try:
            done = f"{executed(source)} cells"
        except CellExecutionError as error:
            failed.append(source.stem)
            done = f"FAILED: {str(error).strip().splitlines()[-1]}"
        print(f"{source.stem:<20} {time.monotonic() - begun:5.0f} s  {done}", flush=True)
    print(f"{len(sources) - len(failed)} of {len(sources)} notebooks ran" + "".join(f", not {name}" for name in failed))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
