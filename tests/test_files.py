# SPDX-License-Identifier: Apache-2.0
import errno
import os
import stat

import pytest

from zipvoice.files import whole_file, write_text


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
