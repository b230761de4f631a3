import pytest

from {{ cookiecutter.package_name }}.data.text_files import read_text
from {{ cookiecutter.package_name }}.errors import UsageError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_text_is_read_as_utf_8_or_by_its_mark(tmp_path, encoding):
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "a.txt").write_bytes(f"{mark}b\u00e2timent\n\u732b\n".encode(encoding))
    assert read_text(tmp_path / "a.txt") == "b\u00e2timent\n\u732b\n"


def test_marks_within_a_file_that_was_joined_of_others_are_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfcat\r\n\xef\xbb\xbfdog\n")
    assert read_text(tmp_path / "a.txt") == "cat\r\ndog\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("fond\nb\u00e2timent\n".encode("cp1252"), "line 2 has the byte 0xe2"),
        ("fond".encode("utf-16-le"), "it has bytes of value zero"),
        (b"\xff\xfea", "line 1 has the byte 0x61"),
    ],
)
def test_text_of_another_encoding_is_refused_with_its_file(tmp_path, content, reason):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(
        UsageError, match=rf"a\.txt is not UTF-8 text: {reason}.*\n.*save it as UTF-8"
    ):
        read_text(tmp_path / "a.txt")
