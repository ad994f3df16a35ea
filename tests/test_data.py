"""Other data and bad data."""

import re

import pytest
from conftest import check_quiet, copy_script, make_archive, run, run_on, small_data
from conftest import RECOMMENDED, titles

RATINGS = ["UserID", "MovieID", "Rating", "Timestamp"]
MOVIES = ["MovieID", "Title", "Genres"]


@pytest.fixture
def read(script, tmp_path):
    """Writes bytes to a file and reads it as the script does."""

    def read(content, columns):
        path = tmp_path / "file.dat"
        path.write_bytes(content)
        return script["read_data"](path, columns)

    return read


def test_read_ratings(read):
    table = read(b"1::20::3.5::100\n2::30::4::90\n", RATINGS)
    assert table.to_numpy().tolist() == [[1, 20, 3.5, 100], [2, 30, 4, 90]]
    assert table.columns.tolist() == RATINGS


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["Unix", "Windows"])
@pytest.mark.parametrize("last", [b"", b"\n", b"\r\n\r\n"])
def test_line_ends(read, end, last):
    table = read(end.join([b"1::2::3::4", b"5::6::7::8"]) + last, RATINGS)
    assert table.to_numpy().tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    table = read(end.join([b"1::A::x|y", b"2::B::z"]) + last, MOVIES)
    assert table["Genres"].tolist() == ["x|y", "z"]


@pytest.mark.parametrize(
    "title",
    [
        "Amélie, the Fabulous (2001)",
        'The "Quoted" (1999)',
        '"Unclosed (1999)',
        "Mission: Impossible (1996)",
        "It's a: 'test', \xff\x85\xa0x (1950)",
        "Null",
        "1984",
        "nan",
    ],
)
def test_titles(read, title):
    line = f"7::{title}::Drama\n8::B::War".encode("latin-1")
    assert read(line, MOVIES)["Title"].tolist() == [title, "B"]


@pytest.mark.parametrize(
    "line",
    ["1::2::3", "1", "1::2::::4", "1::2::three::4", "x::2::3::4", "1::2::nan::4"],
)
@pytest.mark.parametrize("number", [1, 2, 5])
def test_bad_ratings_line(read, line, number):
    lines = ["1::2::3::4"] * 5
    lines[number - 1] = line
    with pytest.raises(ValueError, match=rf"file\.dat .*line \[{number}\]"):
        read("\n".join(lines).encode(), RATINGS)


@pytest.mark.parametrize("line", ["2::Only a title", "two::B::Drama", "2"])
def test_bad_movies_line(read, line):
    with pytest.raises(ValueError, match=r"file\.dat .*line \[2\]"):
        read(f"1::A::Drama\n{line}\n3::C::War".encode(), MOVIES)


def test_too_many_fields(read):
    with pytest.raises(ValueError, match="line 2"):
        read(b"1::2::3::4\n1::2::3::4::5\n", RATINGS)


@pytest.mark.parametrize("content", [b"", b"\n\n"])
@pytest.mark.parametrize("columns", [RATINGS, MOVIES])
def test_empty_file(read, content, columns):
    with pytest.raises(ValueError, match=r"file\.dat is empty"):
        read(content, columns)


def test_odd_but_good_data(tmp_path):
    """All in one run, since it takes a while: see the comments."""
    ratings, movies = small_data()
    ratings = [r.replace("::4::", "::3.5::") for r in ratings]  # Half stars.
    ratings += ["1::777::5::1", "2::777::5::1"]  # A movie that is not listed.
    ratings += ["3::780::5::1"]  # A movie whose title is empty.
    ratings += ["4::790::5::999"]  # A movie that is rated in the test set alone.
    ratings += ["5::10::1::1"]  # A movie not liked, but watched.
    ratings += ["6::70::4::100"] * 2  # Twice the same, at the same time.
    ratings += ["99::10::4::1", "99::20::4::1"]  # A user with too few movies.
    movies += ["780::::Drama", "790::Late (1999)::Drama", "800::Unrated (2000)::War"]
    movies[0] = '10::Café: "Noir", l\'été (1954)::Drama'
    archive = make_archive(
        "\r\n".join(ratings).encode("latin-1"), "\r\n".join(movies).encode("latin-1")
    )
    result, variables = run_on(tmp_path, archive, NUM_EPOCHS=1)
    check_quiet(result.stderr)
    assert "3 ratings are left out" in result.stdout

    table = variables["movies_df"]
    late = table.loc[table["Title"] == "Late (1999)", "MovieID"].item()
    assert "Unrated (2000)" not in set(table["Title"])
    assert "" not in set(table["Title"])
    assert table["Title"].iloc[0] == 'Café: "Noir", l\'été (1954)'
    assert 'Café: "Noir", l\'été (1954)' in result.stdout

    # Eight users are tested. The fourth one's movie is a miss, not left out.
    assert len(variables["test_labels"]) == 8
    assert variables["test_labels"][3] == late
    assert not (variables["predicted"] == late).any()
    assert variables["results"]["most popular"][0] <= 7 / 8
    assert variables["watched"].sum(axis=1).tolist() == [5, 5, 5, 6, 6, 5, 5, 5]

    # User 6 has her first movie three times, and an example of each but the first.
    twice = variables["ratings_df"].query("UserID == 6")["MovieID"].tolist()
    assert twice[:3] == [twice[0]] * 3

    # Fewer movies than TOP_K, fewer examples than a batch.
    # Movie 2 comes only first or last. Of the others, user 1 has watched four.
    assert set(variables["predicted"][0]) == {1, *range(3, 13)}
    assert len(titles(result.stdout)[RECOMMENDED]) == 7
    batches = {len(labels) for _, labels in variables["train_ds"]}
    assert batches == {len(variables["train_labels"])}

    # None of the titles of the reader's evening is in this data.
    assert "Alien (1979) is left out" in result.stdout
    assert "None of your titles is known" in result.stdout


def test_unknown_titles_are_named_with_the_nearest(tmp_path):
    ratings, movies = small_data()
    movies[:2] = ["10::Fargo (1996)::Crime", "20::Aliens (1986)::Action"]
    archive = make_archive("\n".join(ratings), "\n".join(movies))
    result, _ = run_on(tmp_path, archive, NUM_EPOCHS=1)
    assert re.search(r"Alien \(1979\) is left out.*'Aliens \(1986\)'", result.stdout)
    mine = titles(result.stdout)["For you:"]
    assert len(mine) == 10 and "Fargo (1996)" not in mine


def test_bad_data_in_a_run(tmp_path):
    ratings, movies = small_data()
    ratings[6] = "2::oops::4::100"
    archive = make_archive("\n".join(ratings), "\n".join(movies))
    copy_script(tmp_path, archive=archive)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/ml-1m.zip").write_bytes(archive)
    result = run(tmp_path)
    assert result.returncode == 1
    assert re.search(r"ratings\.dat .*line \[7\]", result.stderr.splitlines()[-1])
    assert "step - loss" not in result.stdout
