"""A diagnosis and a run as a notebook shows them."""

import json
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch

from ntxent import bounds
from ntxent.analysis import analyze
from ntxent.diagnosis import Series, diagnose, judge, limits_table
from ntxent.diagnosis.notebook import diagnosis_html

Z = torch.randn(24, 8, generator=torch.Generator().manual_seed(0))
ANALYSIS = analyze(Z, torch.cat((Z[:12], Z[:12])), 0.1)
RUN = judge(Series(np.arange(300.0), 5 + 1.5 * np.exp(-np.arange(300) / 60)), 512, 0.5)


@pytest.mark.parametrize(
    "shown", [diagnose(5.02, 512, 0.5, dim=128), diagnose(3.0, 512, 0.5), RUN, ANALYSIS]
)
def test_the_html_is_well_formed_and_says_every_sentence(shown):
    tree = ET.fromstring(shown._repr_html_())
    text = " ".join("".join(tree.itertext()).split())
    for sentence in shown.sentences:
        assert " ".join(sentence.split()) in text
    assert "floor" in text


def test_tables_and_figures_where_their_libraries_are(monkeypatch):
    pytest.importorskip("pandas")
    (row,) = diagnose(5.02, 512, 0.5).to_frame().to_dict("records")
    assert (row["verdict"], row["batch_size"]) == ("at_floor", 512)
    table = RUN.to_frame()
    assert list(table.columns) == ["step", "loss", "position"]
    assert table.position.iloc[-1] == pytest.approx((5.01 - 4.93) / 2, abs=0.02)
    (row,) = ANALYSIS.to_frame().to_dict("records")
    assert row["effective_rank"] == ANALYSIS.effective_rank
    pytest.importorskip("plotly")
    bars = ANALYSIS.plot().data
    assert [sum(bar.y) for bar in bars] == [pytest.approx(1), pytest.approx(1)]
    assert len(RUN.plot().data) == 1
    for name in ("pandas", "plotly"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install pandas, or use to_dict\(\)"):
        RUN.to_frame()
    with pytest.raises(ModuleNotFoundError, match="pip install plotly"):
        RUN.plot()


def test_names_from_outside_are_escaped_and_no_colour_of_the_page_is_set():
    html = diagnosis_html(RUN.end, ["<script>alert(1)</script>"])
    assert "<script>" not in html
    assert "background" not in html + ANALYSIS._repr_html_() + RUN._repr_html_()


def test_the_table_of_limits_has_a_row_for_each_batch_size_and_temperature():
    table = limits_table([64, 512], [0.1, 0.5], "simclr_tf", dim=32)
    assert [(row["batch_size"], row["temperature"]) for row in table.rows] == [
        *((64, 0.1), (64, 0.5)),
        *((512, 0.1), (512, 0.5)),
    ]
    for row in table.rows:
        limits = bounds.limits("simclr_tf", row["batch_size"], row["temperature"], None, 32)
        assert (row["floor"], row["chance"], row["ceiling"]) == limits[1:2] + limits[:1] + limits[
            2:3
        ]
        kernel = bounds.log_kernel_mean(32, row["temperature"])
        assert row["random"] == pytest.approx(limits.chance + 2 * kernel)
    tree = ET.fromstring(table._repr_html_())
    assert len(tree.findall("tr")) == 5
    assert json.loads(json.dumps(table.to_dict()))["variant"] == "simclr_tf"
    assert "random" not in limits_table(64, 0.1).rows[0]
    with pytest.raises(ValueError, match="expected at least one of each"):
        limits_table([], 0.1)
    pytest.importorskip("pandas")
    assert list(table.to_frame().batch_size) == [64, 64, 512, 512]
    pytest.importorskip("plotly")
    names = [curve.name for curve in table.plot().data]
    assert names[:3] == ["floor, batch_size 64", "chance, batch_size 64", "ceiling, batch_size 64"]
