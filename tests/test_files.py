# SPDX-License-Identifier: Apache-2.0
import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from zipvoice.files import sweep, whole_file, write_text


def test_a_file_is_written_whole_into_a_new_folder(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "grüß")
    assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "grüß"


def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path):
    path = tmp_path / "b.txt"
    write_text(path, "old")
    with pytest.raises(OSError, match="No space left"), whole_file(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["b.txt"]


def test_what_cannot_be_written_is_told_by_the_name_that_was_asked_for(tmp_path, monkeypatch):
    for number in (errno.EFBIG, errno.EDQUOT):
        with pytest.raises(OSError) as told, whole_file(tmp_path / "a.wav"):
            raise OSError(number, os.strerror(number))
        assert (told.value.errno, told.value.filename) == (number, str(tmp_path / "a.wav"))

    def refused(**given):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / ".a.x1234567.tmp.wav"))

    monkeypatch.setattr("tempfile.mkstemp", refused)
    with pytest.raises(OSError, match=rf"Read-only file system: '{tmp_path}/a\.wav'"), whole_file(tmp_path / "a.wav"):
        pass


def test_an_interrupt_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "b.wav") as temporary:
        temporary.write_bytes(b"RIFF")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_the_temporary_name_keeps_the_suffix_and_the_folder(tmp_path):
    with whole_file(tmp_path / "b.flac") as temporary:
        assert temporary.suffix == ".flac"
        assert temporary.parent == tmp_path


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "b.txt", "")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "b.txt").stat().st_mode) == 0o640


def as_text(path, text):
    write_text(path, text)


def as_block(path, text):
    with whole_file(path) as temporary:
        temporary.write_text(text)


@pytest.mark.parametrize("writer", [as_text, as_block])
def test_who_reads_beside_a_writer_reads_the_older_file_to_its_end(tmp_path, writer):
    path = tmp_path / "b.txt"
    writer(path, "the older text")
    with path.open() as reader:
        assert reader.read(3) == "the"
        writer(path, "a new one")
        assert reader.read() == " older text"
        assert path.stat().st_ino != os.fstat(reader.fileno()).st_ino
    assert path.read_text() == "a new one"


def test_the_content_is_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    """Or a power failure could leave an empty file in the place of the older one."""
    done = []

    def fsync(handle):
        done.append(("on disk", os.fstat(handle).st_ino, os.fstat(handle).st_size))

    def replace(source, target):
        done.append(("renamed", source.stat().st_ino, source.stat().st_size))

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_text(tmp_path / "b.txt", "12345")
    (_, inode, _), _ = done
    assert done == [("on disk", inode, 5), ("renamed", inode, 5)]


class Killed(BaseException):
    pass


def broken_off(path, monkeypatch):
    """Leave what a process leaves that is killed while it writes `path`."""
    with monkeypatch.context() as patch, pytest.raises(Killed), whole_file(path) as temporary:
        temporary.write_bytes(b"half")
        patch.setattr(type(temporary), "unlink", lambda self: None)
        raise Killed


@pytest.mark.parametrize(
    "name", ["checkpoint-4.pt", "best-valid-loss.safetensors", "cuts.jsonl.gz", "tokens", "a.b_c.wav"]
)
def test_leftovers_of_broken_writes_are_swept_away(tmp_path, monkeypatch, name):
    others = [tmp_path / other for other in (".other.tmp", "a.tmp.wav", "checkpoint-3.pt")]
    for path in others:
        path.touch()
    broken_off(tmp_path / name, monkeypatch)
    assert len(list(tmp_path.iterdir())) == 4
    sweep(tmp_path, {"somebody else's"})
    assert len(list(tmp_path.iterdir())) == 4
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(others)
    sweep(tmp_path / "nowhere")


def test_what_is_being_written_is_not_swept_away(tmp_path):
    """Two lists may be spoken into one folder."""
    with whole_file(tmp_path / "a.wav") as temporary:
        temporary.write_bytes(b"new")
        sweep(tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    for target, told in ((tmp_path, "it is a folder; name a file in it"), (tmp_path / "pipe.wav", "it is a pipe or")):
        with pytest.raises(OSError, match=told) as error, whole_file(target):
            pass
        assert error.value.filename == str(target)
    assert not (tmp_path / "pipe.wav").is_file() and len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not Path("/dev/stdout").is_symlink(), reason="has no /dev/stdout")
def test_a_name_of_standard_output_is_refused_where_it_leads_to_a_file_too(tmp_path):
    """As in `command -o /dev/stdout > file`, which would replace the name for the whole machine, if run by root."""
    code = "import pathlib, zipvoice.files; zipvoice.files.check_target(pathlib.Path('/dev/stdout'))"
    with (tmp_path / "file").open("w") as file:
        done = subprocess.run([sys.executable, "-c", code], stdout=file, stderr=subprocess.PIPE, text=True, check=False)
    assert "it is a pipe or a device; name a file" in done.stderr
