"""Figures: panels, what is drawn in them, and equal bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from common.results import plots

Make = Callable[..., dict[str, Any]]


def panel(figure: Any, metric: str) -> Any:
    (axes,) = [a for a in figure.axes if metric in [t.get_text() for t in a.texts]]
    return axes


def test_plot_run_writes_a_readable_png(make_record: Make, tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.png"
    plots.plot_run(make_record()["curves"], path, "demo at micro")
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 20_000
    height, width, _ = matplotlib.image.imread(path).shape
    assert width > 1200 and height > 600
    assert b"matplotlib" not in path.read_bytes()


def test_what_nobody_logged_has_no_panel(make_record: Make) -> None:
    curves = make_record()["curves"]
    curves["metrics"]["actor/entropy"] = [None] * 30
    figure = plots.draw({"": [curves]}, "title")
    assert len(figure.axes) == len(curves["metrics"]) - 1 == 6
    assert len(panel(figure, "critic/score/mean").lines[0].get_xdata()) == 30
    validation = panel(figure, "val-core/chain/acc/mean@1")
    assert list(validation.lines[0].get_xdata()) == [1, 11, 21]
    assert not figure.legends
    nothing = plots.draw({"sft": [{"steps": [], "metrics": {}}]}, "title")
    assert not nothing.axes and not nothing.legends


def test_one_panel_per_validation_set(make_record: Make) -> None:
    curves = make_record()["curves"]
    curves["metrics"]["val-core/aime24/acc/mean@32"] = [0.1] * 30
    curves["metrics"]["val-core/aime24/acc/best@32/mean"] = [0.1] * 30
    figure = plots.draw({"": [curves]}, "title")
    assert len(figure.axes) == 7
    assert panel(figure, "val-core/aime24/acc/mean@32").get_title().strip() == "validation accuracy"


def test_models_on_the_way_of_fine_tuning_have_a_panel_by_benchmark(make_record: Make) -> None:
    curves = make_record()["curves"]
    for kind in ("accuracy", "entropy", "response_tokens"):
        curves["metrics"][f"course/general/{kind}"] = [None, 0.1] * 15
    figure = plots.draw({"": [curves]}, "title")
    assert len(figure.axes) == 8
    assert panel(figure, "course/general/entropy").lines[0].get_marker() == "o"
    assert "fine-tuning" in panel(figure, "course/general/accuracy").get_title()


def test_the_score_of_all_responses_is_drawn_where_it_was_logged(make_record: Make) -> None:
    whole, old = (make_record()["curves"] for _ in range(2))
    whole["metrics"]["group/score"] = [0.5] * 30
    whole["metrics"]["critic/score/mean"] = [1.0] * 30  # what psr's update sees
    figure = plots.draw({"psr": [whole], "rft": [old]}, "title")
    reward = panel(figure, "group/score")
    assert [set(line.get_ydata()) for line in reward.lines] == [{0.5}]
    assert len(figure.axes) == 6
    assert panel(plots.draw({"": [old]}, "title"), "critic/score/mean").lines


def test_clip_fraction_is_logarithmic_unless_all_zero(make_record: Make) -> None:
    def scale_of(clip: float) -> str:
        figure = plots.draw({"": [make_record(clip=clip)["curves"]]}, "title")
        return panel(figure, "actor/pg_clipfrac").get_yscale()

    assert (scale_of(0.2), scale_of(0.0)) == ("log", "linear")


def test_mean_and_band_over_seeds(make_record: Make) -> None:
    low, high = make_record("a", 1)["curves"], make_record("a", 2)["curves"]
    low["metrics"]["critic/score/mean"] = [0.2] * 30
    high["metrics"]["critic/score/mean"] = [0.6] * 29 + [None]
    figure = plots.draw({"a": [low, high], "b": [low]}, "title")
    axes = panel(figure, "critic/score/mean")
    mean, other = (line.get_ydata() for line in axes.lines)
    np.testing.assert_allclose(mean, [0.4] * 29 + [0.2])
    np.testing.assert_allclose(other, [0.2] * 30)
    (band,) = axes.collections  # the arm with one seed has none
    corners = band.get_paths()[0].vertices[:, 1]
    assert corners.min() == pytest.approx(0.2) and corners.max() == pytest.approx(0.6)


def test_a_zero_does_not_draw_a_logarithmic_band_to_the_bottom(make_record: Make) -> None:
    first, second = (make_record("a", s, clip=0.002)["curves"] for s in (1, 2))
    first["metrics"]["actor/pg_clipfrac"][5] = 0.0
    axes = panel(plots.draw({"a": [first, second]}, "title"), "actor/pg_clipfrac")
    (band,) = axes.collections
    positive = [v for c in (first, second) for v in c["metrics"]["actor/pg_clipfrac"] if v > 0]
    assert band.get_paths()[0].vertices[:, 1].min() == pytest.approx(min(positive))


def test_plot_recipe_draws_all_arms_once_in_the_legend(make_record: Make, tmp_path: Path) -> None:
    records = [make_record(v, s) for v in ("gspo", "grpo") for s in (1, 2)]
    path = tmp_path / "curves.png"
    plots.plot_recipe(records, path)
    first = path.read_bytes()
    plots.plot_recipe(list(reversed(records)), path)
    assert path.read_bytes() == first and len(first) > 30_000
    plots.plot_recipe(records[:-1], path)
    assert path.read_bytes() != first
    figure = plots.draw({"x": [records[0]["curves"]], "y": [records[2]["curves"]]}, "title")
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["x", "y"]
    colours = [line.get_color() for line in legend.get_lines()]
    assert colours == plots.COLOURS[:2]
    drawn = panel(figure, "critic/score/mean").lines
    assert [line.get_color() for line in drawn] == colours


def test_more_arms_than_colours_differ_by_dashes(make_record: Make) -> None:
    arms = {f"arm{i}": [make_record()["curves"]] for i in range(9)}
    lines = panel(plots.draw(arms, "title"), "critic/score/mean").lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 9


def test_of_many_arms_the_headlines_keep_their_colours(make_record: Make) -> None:
    records = [make_record(f"arm{i}", seed) for i in range(9) for seed in (1, 2)]
    arms = plots.by_arm(records, {"arm3", "arm8", "never"})
    assert list(arms)[:3] == ["arm3", "arm8", "arm0"]
    assert plots.in_colour(arms, {"arm3", "arm8", "never"}) == 2
    assert plots.in_colour(arms, ()) == 9 and plots.in_colour(list(arms)[:7], {"arm3"}) == 7
    figure = plots.draw(arms, "title", 2)
    reward = panel(figure, "critic/score/mean")
    grey = plots.OTHER["color"]
    assert [line.get_color() for line in reward.lines] == [*plots.COLOURS[:2], *[grey] * 7]
    assert len(reward.collections) == 2  # bands
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["arm3", "arm8"]
    assert legend.get_title().get_text() == "grey: arm0, arm1, arm2, arm4, arm5, arm6, arm7"


def test_a_figure_knows_its_own_pixels(make_record: Make, tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    plots.plot_recipe([make_record()], path)
    assert plots.source_of(path) == plots.drawn_from([make_record()])
    with Image.open(path) as image:
        said = PngInfo()
        for key, value in image.text.items():  # type: ignore[attr-defined]
            said.add_text(key, value)
        image.putpixel((300, 200), (1, 2, 3, 255))
        image.save(path, pnginfo=said)
    assert plots.source_of(path) == "other pixels than were drawn"
    path.write_bytes(path.read_bytes()[:5000])
    assert plots.source_of(path) == "no picture"


def test_plot_recipe_refuses_mixed_or_no_records(make_record: Make, tmp_path: Path) -> None:
    mixed = [make_record(), make_record(scale="node8")]
    for records in (mixed, []):
        with pytest.raises(ValueError, match="one recipe at one scale"):
            plots.plot_recipe(records, tmp_path / "x.png")
