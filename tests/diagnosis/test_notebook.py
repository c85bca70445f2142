"""A diagnosis and a run as a notebook shows them."""

import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from ntxent.diagnosis import Series, diagnose, judge

RUN = judge(Series(np.arange(300.0), 5 + 1.5 * np.exp(-np.arange(300) / 60)), 512, 0.5)


@pytest.mark.parametrize("shown", [diagnose(5.02, 512, 0.5, dim=128), diagnose(3.0, 512, 0.5), RUN])
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
    pytest.importorskip("plotly")
    assert len(RUN.plot().data) == 1
    for name in ("pandas", "plotly.graph_objects"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install pandas, or use to_dict\(\)"):
        RUN.to_frame()
    with pytest.raises(ModuleNotFoundError, match="pip install plotly"):
        RUN.plot()
