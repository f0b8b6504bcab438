"""Files are there whole, or as they were before."""

from __future__ import annotations

import os
import signal
import stat
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopctl_shared import whole, write_whole
from tests import forked

# Files of this process can't grow beyond some bytes, as if the disk were full.
FULL = """
    import resource, signal, sys
    # Python would leave half of the modules that it compiles, and nobody could import them then.
    sys.dont_write_bytecode = True
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
"""
WRITES = {
    "config": """
        from loopctl import save_config, when
        branch = {"clipping": (-1, 1), "loss": "mae", "variables": "*kernel"}
        save_config({"gate": {"cond": when.every(3), True: branch}}, path)
    """,
    "export": """
        import keras
        from loopctl import LoopControllerCallback, when
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        LoopControllerCallback({"a": {"cond": when.always, True: {}}}).attach(model).export(path)
    """,
    "results": """
        from pathlib import Path
        from inalu.result_files import write_json
        write_json(Path(path), list(range(100)))
    """,
    "snapshot": """
        from syrupy.data import Snapshot, SnapshotCollection
        from verify.contracts.snapshots import GraphFacts
        collection = SnapshotCollection(location=path)
        collection.add(Snapshot(name="facts", data="x" * 100))
        GraphFacts.write_snapshot_collection(snapshot_collection=collection)
    """,
    "text": """
        from pathlib import Path
        from loopctl_shared import write_whole
        write_whole(Path(path), "x" * 100)
    """,
}


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("before", ["old", None])
def test_a_full_disk_leaves_the_old_file(kind: str, before: str | None, tmp_path: Path) -> None:
    path = tmp_path / ("config.toml" if kind == "config" else "file.py")
    if before is not None:
        path.write_text(before)
    code = "path = " + repr(str(path)) + textwrap.dedent(FULL) + textwrap.dedent(WRITES[kind])
    status, told = forked.run(code)
    assert status == 1
    assert "OSError: [Errno 27] File too large" in told
    assert [p.name for p in tmp_path.iterdir()] == ([path.name] if before else [])
    if before is not None:
        assert path.read_text() == before


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def interrupted() -> None:
        with whole(path) as part:
            part.write_text("half of")
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    code = f"""
        import os, signal
        from pathlib import Path
        from loopctl_shared import whole
        with whole(Path({str(path)!r})) as part:
            part.write_text("half of")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    status, _ = forked.run(textwrap.dedent(code))
    assert status == -signal.SIGKILL
    assert path.read_text() == "old"


@pytest.fixture
def umask() -> Iterator[None]:
    """Others may read what is new, and not write to it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(("before", "after"), [(None, 0o644), (0o600, 0o600), (0o664, 0o664)])
def test_a_file_that_is_replaced_keeps_its_permissions(
    before: int | None, after: int, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.touch()
        path.chmod(before)
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == after


def test_text_is_written_as_utf_8(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "–")
    assert (tmp_path / "file").read_bytes() == "–".encode()


def test_what_is_written_to_has_the_same_suffix(tmp_path: Path) -> None:
    """Keras goes by it."""
    with whole(tmp_path / "a.weights.h5") as part:
        assert part.name.endswith(".weights.h5")
        assert part.parent == tmp_path
        part.touch()
    assert [path.name for path in tmp_path.iterdir()] == ["a.weights.h5"]
