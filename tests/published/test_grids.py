"""Tables in files: the separator, the caption, spans and headings of CSV, Markdown and LaTeX."""

import pytest

from umdlib.errors import InputError
from umdlib.published.grids import grids_of


@pytest.fixture
def grids(tmp_path):
    def read(text):
        path = tmp_path / "t.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return grids_of(path)

    return read


def test_a_file_that_is_no_text_or_not_there_is_named(grids, tmp_path):
    with pytest.raises(InputError) as error:
        grids(b"a,b\n\xff\xfe,0.5\n")
    assert str(error.value) == f"Cannot read {tmp_path / 't.txt'}: it is not UTF-8 text."
    with pytest.raises(InputError, match=r"Cannot read .*absent.csv: No such file or directory\."):
        grids_of(tmp_path / "absent.csv")
    with pytest.raises(InputError, match=r"Cannot read .*: Is a directory\."):
        grids_of(tmp_path)
    with pytest.raises(
        InputError, match="holds no table. Must be CSV, a Markdown or HTML table or a LaTeX tabular"
    ):
        grids("one column\n0.5\n")


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("Organ,A\nLiver,0.5\n", ["Liver", "0.5"]),
        ("Organ;A\nLiver;0,5\n", ["Liver", "0.5"]),  # a decimal comma
        ("Organ;A\nLiver, left;0.5\n", ["Liver, left", "0.5"]),  # points are decimal, so commas are words
        ("Organ\tA\n\nLiver\t0.5 (0.1, 0.9)\n", ["Liver", "0.5 (0.1, 0.9)"]),
        ('\ufeffOrgan,A\n"Liver, left",0.5\n', ["Liver, left", "0.5"]),
    ],
)
def test_the_separator_is_what_divides_every_line(grids, text, cells):
    ((head, body, caption),) = grids(text)
    assert head == ["Organ", "A"] and body == [cells] and caption == ""


def test_pipe_tables_have_the_text_above_as_caption_and_keep_an_escaped_pipe(grids):
    text = "# Results\n\nDice of folds.\n\n| Model | A |\n|:--|--:|\n| x \\| y | 0.5 |\n\nmore\n\n"
    text += "| Model | B |\n|---|---|\n| z | 0.6 |\n"
    first, second = grids(text)
    assert first == (["Model", "A"], [["x | y", "0.5"]], "Dice of folds.")
    assert second == (["Model", "B"], [["z", "0.6"]], "more")


LATEX = r"""
\begin{table}
\caption[short]{Dice in \% of {all} organs}
\begin{tabular*}{\linewidth}[t]{lcc}
\toprule
 & \multicolumn{2}{c}{\textbf{Dice}} \\ % two
\cmidrule(lr){2-3}
Organ & A & B \\
\midrule
\multirow{2}{*}{Liver} & 0.5 & 0.6 \\[2pt]
 & 0.7 & 0.8 \tabularnewline
A \& B & 0.1 & 0.2 \\
\bottomrule
\end{tabular*}
\end{table}
"""


def test_a_tabular_is_read_through_its_spans_rules_and_comments(grids):
    ((head, body, caption),) = grids(LATEX)
    assert caption == r"Dice in \% of {all} organs"
    assert [h.replace(r"\textbf{Dice}", "Dice") for h in head] == ["Organ", "Dice A", "Dice B"]
    assert body == [["Liver", "0.5", "0.6"], ["", "0.7", "0.8"], [r"A \& B", "0.1", "0.2"]]


def test_a_table_without_a_caption_and_a_short_line_has_empty_ends(grids):
    ((head, body, caption),) = grids("\\begin{tabular}{lcc}Organ & A & B \\\\ Liver & 0.5 \\\\\\end{tabular}")
    assert (head, body, caption) == (["Organ", "A", "B"], [["Liver", "0.5", ""]], "")
