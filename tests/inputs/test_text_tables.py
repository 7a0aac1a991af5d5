"""Text tables: every common form gives the same values; a row that would shift values is refused."""

import pandas as pd
import pytest

from lsm.inputs.samples import first_rows
from lsm.inputs.tables import text_tables
from lsm.inputs.tables.text_tables import Table, numeric
from lsm.run.settings import InputError


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("LSM_ROOT", str(tmp_path))
    return tmp_path / "t.csv"


def read(path, content: bytes):
    path.write_bytes(content)
    table = Table(path)
    frame = pd.concat(table.frames(list(range(len(table.header)))))
    return table, numeric(frame, table).to_numpy().tolist()


@pytest.mark.parametrize("content", [
    b"X,Y\n1.5,-3\n2,4\n", b"X;Y\n1,5;-3\n2;4\n", b"X\tY\n1,5\t-3\n2\t4\n", b'"X","Y"\n"1,5","-3"\n"2","4"\n',
    b"\xef\xbb\xbfX,Y\r\n1.5,-3\r\n\r\n2,4\r\n", b"X,Y\r1.5,-3\r2,4", b"sep=;\nX;Y\n1.5;-3\n2;4\n",
    b'"sep=\t"\nX\tY\n1.5\t-3\n2\t4\n', b"# exported\n#\nX,Y\n# a note\n1.5,-3\n2,4\n", b"# X,Y\n1.5,-3\n2,4\n",
    b"\xef\xbb\xbf\xef\xbb\xbfX,Y\n1.5,-3\n2,4\n", b"X Y\n1.5 -3\n2 4\n", 
    b"  X   Y\n\n 1.5   -3 \n# note\n  2  4\n", b"# X Y\n1.5 -3\n2 4\n",
    b"X|Y\n1.5|-3\n2|4\n",
    b" X , Y \n 1.5, -3\n2 ,4\n,\n", b"X,Y,\n1.5,-3,\n2,4,\n", b"X,Y\n1.5,-3,\n2,4,\n",
    "X\tY\r\n1,5\t-3\r\n2\t4\r\n".encode("utf-16"), b"\xfe\xff" + "X,Y\n1.5,-3\n2,4\n".encode("utf-16-be")])
def test_forms_of_one_table(path, content):
    table, values = read(path, content)
    assert table.header == ["X", "Y"]
    assert values == [[1.5, -3], [2, 4]]


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("between", [",", " "])
def test_lines_over_blocks(path, block, between, monkeypatch):
    monkeypatch.setattr(text_tables, "BLOCK", block)
    content = f"X{between}Y\r\n" + "".join(f"{i}{between}{i / 4}\r\n" for i in range(50))
    for encoding in ("utf-8", "utf-16"):
        _, values = read(path, content.encode(encoding))
        assert values == [[i, i / 4] for i in range(50)]


def test_lines_are_those_of_the_file(path):
    table, _ = read(path, b"# a\nX,Y\n1,2\n\n# b\n3,4\n,\n5,6\n")
    assert [table.line_of(row) for row in range(3)] == [3, 6, 8]


@pytest.mark.parametrize(("content", "values"), [
    (b"X;Y\n500,123;2\n", [[500.123, 2]]),           # no points in the table: a decimal comma
    (b"X;Y\n500,123;2.5\n", None),                   # points are decimal: thousands, perhaps
    (b'X,Y\n"500,123",2\n', None), (b'X,Y\n"1,234.5",2\n', None), (b"X;Y\n1,234,567;2\n", None),
    (b"X;Y\n1,5;2\n2.5;2\n", None)])
def test_a_comma_counts_where_it_can_only_be_decimal(path, content, values):
    _, found = read(path, content)
    assert found == values if values else found[0][0] != found[0][0]  # nan: no number


@pytest.mark.parametrize(("content", "words"), [
    (b"", "expected a table, found 0 bytes"), (b"\n\n# only\n", "and no header"),
    (b"X,Y\n1,2\n1,5,2,5\n", "line 3: expected 2 columns as in the header, found 4; decimal commas?"),
    (b"X,Y,Z\n1,2\n", "line 2: expected 3 columns as in the header, found 2; correct the row"),
    (b"1,2\n3,4\n", "line 1: expected the names of the columns, found numbers; write a header like X,Y"),
    (b'X,Y\n1,"2\n3,4\n', "line 2: expected quotes in pairs around a value, found one that does not end"),
    (b'X,Y\n"1"2,3\n', "line 2: expected quotes in pairs"),
    (b"X,Y\n1,2" + b"," * 1_000_000 + b"\n", "line 2: expected 10,000 columns at most, found 1,000,002"),
    (b"X" + b"," * 20_000 + b"\n1\n", "line 1: expected 10,000 columns at most"),
    (b"X,Y\n" + b"1" * (3 << 20), "found a longer one"),
    ("X,Y\n1,2\n".encode("utf-16-le"), "found zero bytes"),
    ("X,Y\n1,2\n".encode("utf-16")[:8] + b"\x00\xdc" * 9, "expected a whole table, found: "),
    (b"X,Y\n1,\0\n", "found zero bytes")])
def test_refused(path, content, words):
    with pytest.raises(InputError) as caught:
        read(path, content)
    assert words in str(caught.value)


@pytest.mark.parametrize("block", [3, 1 << 20])
def test_a_value_in_quotes_may_take_several_lines(path, block, monkeypatch):
    monkeypatch.setattr(text_tables, "BLOCK", block)
    content = b'X,"a\r\n name",Y\r\n1,"two\r\n\r\n ""lines"", and more",2\r\n3,5" pipe,4\r\n5,"#\n# no comment",6\r\n'
    table, values = read(path, content)
    assert table.header == ["X", "a name", "Y"]
    assert [row[::2] for row in values] == [[1, 2], [3, 4], [5, 6]]
    assert [table.line_of(row) for row in range(3)] == [3, 6, 7]
    assert first_rows(path, None)["a name"].tolist() == ['two\n\n "lines", and more', '5" pipe', "#\n# no comment"]


def test_windows_1252_is_said(path):
    table, values = read(path, "Höhe – m,Y\n1,2\n".encode("cp1252"))
    assert table.header == ["Höhe – m", "Y"]
    assert values == [[1, 2]]
    assert table.notes == ["t.csv: lines that are not UTF-8 are read as Windows-1252"]


@pytest.mark.parametrize("content", [
    'WKT\n"POLYGON ((1 2,3 4,5 6,1 2))"\n"POLYGON ((7 2,3 4,5 6,7 2))"\n', "name\n'a'\n'b'\n",
    'WKT;\n"POLYGON ((1 2,3 4,5 6,1 2))";\n'])
def test_a_header_of_one_column_is_no_title(path, content):
    path.write_text(content)
    assert Table(path).header == [content[:content.index("\n")].strip(";")]
    assert Table(path).notes == []


def test_quotes_that_do_not_pair_between_tabs_do_not_swallow_rows(path):
    path.write_text('X\tY\tt\n1\t2\t"open\n3\t4\tz\n5\t6\tclose"\n7\t8\tw\n')
    assert first_rows(path, None)["t"].tolist() == ['"open', "z", 'close"', "w"]
    path.write_text('X\tt\tY\n1\t"two\nlines"\t2\n')
    assert first_rows(path, None)["t"].tolist() == ["two\nlines"]


def test_quotes_that_begin_a_text_between_tabs_belong_to_it(path):
    path.write_text('X\tplace\tn\n1\t"Big" slide\t2\n3\tthe 5" one\t4\n')
    assert first_rows(path, None)["place"].tolist() == ['"Big" slide', 'the 5" one']


@pytest.mark.parametrize("title", ["Landslides of 2020", '"Landslides, 2020"', "Landslides of 2020\nof a valley,,",
                                   "Landslides of 2020,,,\n,,,", ",Landslides of 2020,"])
def test_a_title_above_the_header_is_passed_over_and_said(path, title):
    path.write_text(f"{title}\nX,Y,place,n\n1,2,a,3\n")
    assert first_rows(path, None).to_dict("list") == {"X": [1], "Y": [2], "place": ["a"], "n": [3]}
    assert Table(path).notes[0] == "t.csv: line 1 is taken for a title"
    path.write_text('"X\n (m)",Y\n1,2\n')
    assert Table(path).header == ["X (m)", "Y"]


def test_one_odd_sign_leaves_other_lines_alone(path):
    path.write_bytes("X,rock\n1,Grès\n".encode() + b"2,Gr\xe8s\n" + "3,Grès\n".encode())
    assert first_rows(path, None)["rock"].tolist() == ["Grès"] * 3


def test_a_look_at_the_first_rows(path):
    path.write_text("X,name,X,n\n1,a,2,\n3,b,4,5\n5,c,6,x\n")
    assert first_rows(path, 2).to_dict("list") == {"X": [1, 3], "name": ["a", "b"], "n": [pytest.approx(float("nan"),
                                                                                                     nan_ok=True), 5]}
    assert list(first_rows(path, None)["n"])[2] == "x"
