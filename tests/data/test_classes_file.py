from __future__ import annotations

from pathlib import Path

import pytest

from lossmaxpool.data import DataError
from lossmaxpool.data.folders import default_colors, read_classes_file


def write(tmp_path: Path, text: str, name: str = "classes.json") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_lines(tmp_path: Path) -> None:
    content = read_classes_file(write(tmp_path, "\ufeffsky\n road \n\n", "classes.txt"))
    assert content.labels.names == ("sky", "road")
    assert content.ids == {0: 0, 1: 1, 255: 255}
    assert not content.says_ignore


def test_a_list(tmp_path: Path) -> None:
    assert read_classes_file(write(tmp_path, '["a", "b"]')).labels.names == ("a", "b")


def test_everything(tmp_path: Path) -> None:
    text = '{"names": ["a", "b"], "colors": [[1,2,3],[4,5,6]], "ignore": 0, "values": [7, 9]}'
    content = read_classes_file(write(tmp_path, text))
    assert content.labels.colors == ((1, 2, 3), (4, 5, 6))
    assert content.ids == {0: 255, 7: 0, 9: 1}
    assert content.says_ignore


def test_a_class_may_have_the_id_255(tmp_path: Path) -> None:
    text = '{"names": ["a", "b"], "values": [0, 255]}'
    assert read_classes_file(write(tmp_path, text)).ids == {0: 0, 255: 1}


def test_default_colours_are_distinct() -> None:
    assert len(set(default_colors(40))) == 40


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[", "malformed"),
        ("3", "needs a list of names"),
        ('["a", 1]', "needs a list of names"),
        ('{"labels": ["a", "b"]}', "Unknown key 'labels'"),
        ('{"nmes": ["a", "b"]}', "Did you mean 'names'"),
        ('["a"]', "2 to 254 classes"),
        ('["a", "a"]', "repeated: a"),
        ('{"names": ["a", "b"], "colors": [[1, 2, 3]]}', "need 2 colours, got 1"),
        ('{"names": ["a", "b"], "colors": "red"}', r'"colors" must be a list'),
        ('{"names": ["a", "b"], "colors": [[1, 2, 3], [1, 2]]}', r'"colors" must be a list'),
        ('{"names": ["a", "b"], "colors": [[1, 2, 3], [1, 2, 300]]}', "'b' must be three values"),
        ('{"names": ["a", "b"], "ignore": 1}', '"ignore" must be one id .* no class, got 1'),
        ('{"names": ["a", "b"], "ignore": -1}', '"ignore" must be one id'),
        ('{"names": ["a", "b"], "values": [3]}', '"values" must be 2 distinct ids'),
        ('{"names": ["a", "b"], "values": [3, 3]}', '"values" must be 2 distinct ids'),
        ('{"names": ["a", "b"], "values": [3, "4"]}', '"values" must be 2 distinct ids'),
    ],
)
def test_malformed(tmp_path: Path, text: str, match: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=match) as error:
        read_classes_file(path)
    assert str(path) in str(error.value)


def test_a_binary_file(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match="cannot be read"):
        read_classes_file(tmp_path / "classes.txt")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.json cannot be read"):
        read_classes_file(tmp_path / "gone.json")


def test_a_blank_line_does_not_shift_the_ids(tmp_path: Path) -> None:
    path = write(tmp_path, "sky\n\nroad\n", "classes.txt")
    with pytest.raises(DataError, match="line 2 is blank, and each line is the class of the next"):
        read_classes_file(path)


def test_a_single_class_lacks_its_background(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"got 1: crack\. Add 'background' as the first class"):
        read_classes_file(write(tmp_path, '["crack"]'))
