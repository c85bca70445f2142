"""The pages in a browser: Debian's Chromium, opened from disk, with every request noted."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from ntxent import bounds
from ntxent.cli import main
from ntxent.diagnosis import diagnose
from ntxent.report import write_explorer, write_report
from ntxent.trajectory import Series, judge
from runs import losses, make_run

CHROMIUM = shutil.which("chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium"
)

EVIL = "<img src=x onerror=alert(1)>"
DESKTOP, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Open a page from disk; what it may not do is asserted when the test is over."""
    contexts, wrong = [], []

    def note(request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            wrong.append(request.url)

    def visit(path, size=DESKTOP, scheme="light"):
        width, height = size
        viewport = {"width": width, "height": height}
        contexts.append(browser.new_context(viewport=viewport, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("request", note)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else 0)
        page.goto(Path(path).resolve().as_uri())
        page.evaluate("Page.ready")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Every kind of page by its name."""
    folder = tmp_path_factory.mktemp("pages")
    one = make_run(folder / "one", name=EVIL, classes=("plain", '"quoted"', EVIL))
    two = make_run(folder / "two", name='"two" & more', size=128, accuracy=0.95)
    alike = make_run(folder / "alike", name="alike", loss=losses(90, 256, 0.5, 64, end=0.1))
    running = make_run(folder / "running", finished=False)
    (running / "metrics.csv").unlink()
    written = {name: folder / f"{name}.html" for name in ("run", "runs", "same", "empty")}
    write_report([one], written["run"])
    write_report([one, two], written["runs"])
    write_report([one, alike], written["same"])
    write_report([running], written["empty"])
    written["explorer"] = folder / "explorer.html"
    write_explorer(written["explorer"])
    written["plot"] = folder / "plot.html"
    assert main(["bounds", "-n", "64", "-t", "0.1", "--plot", str(written["plot"])]) == 0
    return written


@pytest.fixture(scope="module")
def opened(browser, pages):
    """One explorer for all its tests: opening it takes longer than they do."""
    wrong = []
    page = browser.new_page()
    page.on("request", lambda r: wrong.append(r.url) if r.url.startswith("http") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else 0)
    page.goto(pages["explorer"].as_uri())
    page.evaluate("Page.ready")
    yield page
    page.close()
    assert wrong == []


@pytest.fixture
def page(opened):
    """The explorer as it opens."""
    opened.evaluate(
        """() => {
          document.getElementById("inputs").reset();
          document.getElementById("paste").value = "";
          Explorer.take("");
          Explorer.answer();
        }"""
    )
    return opened


def settle(page):
    """Wait until the answer to the last input stands, which the next frame brings."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


KINDS = ("run", "runs", "same", "empty", "explorer", "plot")


@pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_opens_from_disk_fits_its_window_and_can_be_read_by_all(
    visit, pages, kind, size, scheme
):
    page = visit(pages[kind], size, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    plots = page.locator(".plot:visible")
    assert plots.locator(".main-svg").count() >= plots.count()
    assert plots.count() > 0 or kind == "empty"

    levels = page.locator("h1:visible, h2:visible, h3:visible, h4:visible").evaluate_all(
        "all => all.map((heading) => Number(heading.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1

    axe = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    named = [
        (violation["id"], violation["impact"], [node["html"][:120] for node in violation["nodes"]])
        for violation in found["violations"]
        if violation["impact"] in ("moderate", "serious", "critical")
    ]
    assert named == []
    assert len(found["passes"]) > 10  # it looked


def test_what_users_write_is_shown_as_text(visit, pages):
    page = visit(pages["run"])
    assert page.locator("h1").inner_text() == EVIL
    assert page.locator('img[src="x"]').count() == 0
    legend = page.locator('[data-figure="map"] .legendtext').all_text_contents()
    assert legend == ["plain", '"quoted"', EVIL]
    page = visit(pages["runs"])
    legend = page.locator('[data-figure="position"] .legendtext').all_text_contents()
    assert legend == [EVIL, '"two" & more']


def test_hover_reads_out_the_value_with_its_unit(visit, pages):
    page = visit(pages["run"])
    plot = page.locator('[data-figure="loss"]')
    plot.scroll_into_view_if_needed()
    area = plot.locator(".nsewdrag").first.bounding_box()
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)
    hover = plot.locator(".hoverlayer")
    hover.locator("text").first.wait_for()
    said = " ".join(hover.locator("text").all_text_contents())
    assert "nats" in said
    assert "step" in said


def test_hover_shows_the_image_of_a_point(visit, pages):
    page = visit(pages["run"])
    plot = page.locator('[data-figure="map"]')
    plot.scroll_into_view_if_needed()
    assert not page.locator("#thumb").is_visible()
    point = plot.locator(".points path").nth(7).bounding_box()
    page.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    page.locator("#thumb").wait_for(state="visible")


def test_a_click_in_the_legend_hides_a_curve_and_a_new_axis_keeps_it_hidden(visit, pages):
    page = visit(pages["run"])
    plot = page.locator('[data-figure="positive"]')
    shown = plot.locator(".scatterlayer .trace")
    before = shown.count()
    plot.locator(".legendtoggle").last.click()
    playwright.expect(shown).to_have_count(before - 1)
    page.get_by_role("radio", name="epoch").check()
    settle(page)
    assert shown.count() == before - 1


def test_axis_and_smoothing_change_what_is_drawn(visit, pages):
    page = visit(pages["run"])
    read = "document.querySelector('[data-figure=loss]')"

    def title():
        return page.evaluate(f"{read}.layout.xaxis.title.text")

    assert title() == "step"
    page.get_by_role("radio", name="time").check()
    assert title() == "time, seconds"
    assert page.evaluate(f"Array.from({read}.data[0].x).at(-1)") == 0.5 * 119
    page.get_by_role("radio", name="epoch").check()
    assert title() == "epoch"
    raw = np.array(page.evaluate(f"Array.from({read}.data[0].y)"))
    page.get_by_role("radio", name="strong").check()
    assert page.evaluate(f"{read}.data.length") == 2  # the raw curve stays behind
    smooth = np.array(page.evaluate(f"Array.from({read}.data[1].y)"))
    assert np.abs(np.diff(smooth)).sum() < np.abs(np.diff(raw)).sum()
    assert smooth[60] == pytest.approx(raw[55:66].mean(), rel=1e-12)


def test_the_theme_follows_the_system_until_it_is_chosen(visit, pages):
    page = visit(pages["run"], scheme="dark")

    def colours():
        return page.evaluate(
            "[getComputedStyle(document.body).backgroundColor,"
            " document.querySelector('[data-figure=loss]').layout.font.color]"
        )

    dark = colours()
    page.emulate_media(color_scheme="light")
    settle(page)
    light = colours()
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    for expected in (light, dark, light):  # light, dark, system
        page.locator("#theme").click()
        assert colours() == expected


def test_print_is_light_and_drops_the_controls(visit, pages):
    page = visit(pages["run"], scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".controls").is_visible()
    assert len(page.pdf()) > 10_000


def test_the_table_sorts_by_position_and_by_accuracy(visit, pages):
    page = visit(pages["same"])

    def column(index):
        return page.locator(f".sortable tbody tr > :nth-child({index})").all_text_contents()

    assert column(1) == ["alike", EVIL]
    page.get_by_role("button", name="run", exact=True).click()
    assert column(1) == sorted(column(1))
    page.get_by_role("button", name="position").click()
    assert [float(value) for value in column(2)] == sorted(float(value) for value in column(2))
    page.get_by_role("button", name="position").click()
    assert column(1) == [EVIL, "alike"]
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"


def test_the_keyboard_reaches_the_content_and_the_controls(visit, pages):
    page = visit(pages["run"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"
    page.get_by_role("radio", name="step").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("radio", name="epoch").is_checked()


# --- the explorer's formulas ----------------------------------------------------------------------

SIZES = (2, 3, 16, 256, 4096, 10**6)
TEMPERATURES = (0.005, 0.01, 0.07, 0.1, 0.5, 1.0, 2.0, 2.05, 10.0)
DIMS = (1, 2, 3, 8, 64, 301, 302, 303, 1024, 4096)


def close(found, expected):
    """To 1e-9 relative; below 1e-3 to the 1e-12 that float64 leaves of log(1 + small)."""
    found, expected = (np.array(x, dtype=float) for x in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_every_formula_gives_the_numbers_of_the_bounds(page):
    n, t, d = (x.ravel() for x in np.meshgrid(SIZES, TEMPERATURES, DIMS, indexing="ij"))
    grid = [[int(a), float(b), int(c)] for a, b, c in zip(n, t, d, strict=True)]

    def evaluate(formula, *more):
        columns = zip(*([row[k] for row in grid] for k in range(3)), *more, strict=True)
        return page.evaluate(f"rows => rows.map(({formula}))", list(map(list, columns)))

    close(evaluate("([n]) => Bounds.chance(n)"), bounds.chance(n))
    close(evaluate("([n, t]) => Bounds.ceiling(n, t)"), bounds.ceiling(n, t))
    close(evaluate("([n, t]) => Bounds.floor(n, t)"), bounds.floor(n, t))
    close(evaluate("([n, t, d]) => Bounds.floor(n, t, d)"), bounds.floor(n, t, d))
    close(
        evaluate("([n, t, d]) => Bounds.uniformityFloor(n, t, d)"), bounds.uniformity_floor(n, t, d)
    )
    close(evaluate("([n, t, d]) => Bounds.randomLoss(n, t, d)"), bounds.random_loss(n, t, d))
    close(
        evaluate("([n, t, d]) => Bounds.floor(n, t, d, 0.4)"),
        bounds.floor(n, t, d, similarity=0.4),
    )
    close(evaluate("([n, t]) => Bounds.upperBound(n, t, 0.4)"), bounds.upper_bound(n, t, 0.4))
    close(
        evaluate("([n, t]) => Bounds.measuredFloor(n, t, 0.9, 0.1)"),
        bounds.measured_floor(n, t, 0.9, 0.1),
    )
    for share in (0.0, 1e-3, 0.2, 0.9, 1.0):
        loss = bounds.floor(n, t) + share * (bounds.ceiling(n, t) - bounds.floor(n, t))
        close(
            evaluate("([n, t, d, l]) => Bounds.similarityInterval(l, n, t)", loss.tolist()),
            np.stack(bounds.similarity_interval(loss, n, t), 1),
        )
        close(
            evaluate("([n, t, d, l]) => Bounds.gradientBound(l, t)", loss.tolist()),
            bounds.gradient_bound(loss, t),
        )
        close(
            evaluate("([n, t, d, l]) => Bounds.top1Share(l)", loss.tolist()),
            bounds.top1_share(loss),
        )
    apart = bounds.chance(n) - bounds.floor(n, t, d) > 1e-3
    loss = np.where(apart, 0.3 * bounds.floor(n, t, d) + 0.7 * bounds.chance(n), 1.0)
    found = np.array(evaluate("([n, t, d, l]) => Bounds.position(l, n, t, d) ?? 0", loss.tolist()))
    np.testing.assert_allclose(
        found[apart], bounds.position(loss[apart], n[apart], t[apart], d[apart]), rtol=1e-9
    )


@pytest.mark.parametrize("variant", bounds.VARIANTS)
def test_the_limits_of_every_variant_are_those_of_the_bounds(page, variant):
    queue = 65536 if bounds.VARIANTS[variant].queued else None
    for n in (1, *SIZES):
        for t in TEMPERATURES:
            for d in (None, 16):
                arguments = [variant, n, t, queue, d]
                found = page.evaluate("a => Bounds.limits(...a)", arguments)
                close(list(found.values()), bounds.limits(*arguments))


@pytest.mark.parametrize(("variant", "views", "negatives"), [("nt_xent", 3, 0), ("clip", 2, 7)])
def test_the_limits_of_more_views_and_hard_negatives_are_those_of_the_bounds(
    page, variant, views, negatives
):
    for n in SIZES:
        for t in TEMPERATURES:
            found = page.evaluate(
                "a => Bounds.limits(...a)", [variant, n, t, None, 16, negatives, views]
            )
            close(list(found.values()), bounds.limits(variant, n, t, None, 16, views, negatives))


# Not 0: whether a loss is at the very floor hangs on the last bit of both.
PLACES = (-0.5, -0.001, 0.001, 0.0625, 0.3, 0.9, 1, 1.005, 1.4)


def cases():
    """Losses at, between and beyond the limits, with and without what else may be known."""
    for variant, row in bounds.VARIANTS.items():
        for n, t in ((1, 0.5), (2, 0.07), (64, 0.1), (512, 0.5), (512, 10.0), (4096, 0.05)):
            for d in (None, 8):
                queue = 4096 if row.queued else None
                limits = bounds.limits(variant, n, t, queue, d)
                places = {limits.floor + x * (limits.chance - limits.floor) for x in PLACES}
                for loss in sorted({*places, limits.ceiling, 1.1 * limits.ceiling + 1, 5.0625}):
                    case = {"loss": loss, "n": n, "t": t, "variant": variant}
                    if loss >= 0:
                        yield case | {"queue": queue, "d": d}
    for variant, more in (
        ("nt_xent", {"views": 4}),
        ("simclr_tf", {"views": 3}),
        ("info_nce", {"negatives": 1}),
        ("clip", {"negatives": 7}),
    ):
        for n, t in ((1, 0.5), (64, 0.1), (512, 0.5)):
            limits = bounds.limits(variant, n, t, **more)
            for x in PLACES:
                loss = limits.floor + x * (limits.chance - limits.floor)
                if loss >= 0:
                    case = {"loss": loss, "n": n, "t": t, "variant": variant, "queue": None}
                    yield case | {"d": 8} | more
    for positive, negative in ((0.99, 0.95), (0.5, None), (None, 0.93), (0.9, 0.0), (1.0, 1.0)):
        for loss in (4.9, 5.3, 6.93, 7.5):
            case = {"loss": loss, "n": 512, "t": 0.5, "variant": "nt_xent", "queue": None}
            yield case | {"d": 64, "positive": positive, "negative": negative}


def test_the_diagnosis_is_that_of_the_library_word_for_word(page):
    asked = list(cases())
    assert len(asked) > 500
    answers = page.evaluate("cases => cases.map((c) => Diagnosis.diagnose(c))", asked)
    seen = set()
    for case, found in zip(asked, answers, strict=True):
        expected = diagnose(
            case["loss"],
            case["n"],
            case["t"],
            case["variant"],
            queue=case["queue"],
            dim=case["d"],
            positive_similarity=case.get("positive"),
            negative_similarity=case.get("negative"),
            views=case.get("views", 2),
            negatives=case.get("negatives", 0),
        )
        assert found["verdict"] == expected.verdict, case
        assert tuple(found["sentences"]) == expected.sentences, case
        for mine, own in (
            ("position", expected.position),
            ("random", expected.random),
            ("top1", expected.top1_share),
            ("gradient", expected.gradient_bound),
            ("interval", expected.similarity_interval),
        ):
            if own is None:
                assert found[mine] is None
            else:
                np.testing.assert_allclose(found[mine], own, rtol=1e-9, atol=1e-11)
        assert [other["convention"] for other in found["alternatives"]] == [
            other.convention for other in expected.alternatives
        ]
        seen.add(expected.verdict)
    assert seen == {
        *("impossible", "at_floor", "learning", "at_chance"),
        *("collapsed", "above_chance", "degenerate"),
    }


def test_numbers_are_written_as_python_writes_them(page):
    rng = np.random.default_rng(0)
    numbers = [*(10 ** rng.uniform(-8, 12, 200)), 0.0625, 0.1875, 2.5, 5.0625, 0.5, 1e5, 1e-5, 0.0]
    numbers += [-x for x in numbers[:50]]
    shown = page.evaluate(
        "xs => xs.map(x => [Diagnosis.general(x, 4), Diagnosis.general(x), Diagnosis.fixed(x, 3)])",
        numbers,
    )
    assert shown == [[f"{x:.4g}", f"{x:g}", f"{x:.3f}"] for x in numbers]


# --- the explorer in use --------------------------------------------------------------------------


def shown(page, name):
    """The numbers of a tile, in full."""
    values = page.locator(f"#out-{name} data").evaluate_all("all => all.map(x => Number(x.value))")
    return values[0] if len(values) == 1 else values


def test_fields_and_sliders_change_the_numbers(page):
    for name, value in (("n", "300"), ("t", "0.2"), ("d", "48"), ("loss", "3.3")):
        page.locator(f"#{name}").fill(value)
    settle(page)
    low, high = bounds.similarity_interval(3.3, 300, 0.2)
    close(shown(page, "floor"), bounds.floor(300, 0.2, 48))
    close(shown(page, "chance"), bounds.chance(300))
    close(shown(page, "ceiling"), bounds.ceiling(300, 0.2))
    close(shown(page, "position"), bounds.position(3.3, 300, 0.2, 48))
    close(shown(page, "interval"), [low, high])
    close(shown(page, "gradient"), bounds.gradient_bound(3.3, 0.2))
    close(shown(page, "random"), bounds.random_loss(300, 0.2, 48))
    assert page.locator("#headline").inner_text() == "Learning"

    for name, place, value in (("n", "10", "1024"), ("t", "-1", "0.1"), ("d", "5", "32")):
        page.locator(f"#{name}-slider").fill(place)
        settle(page)
        assert page.locator(f"#{name}").input_value() == value
    close(shown(page, "floor"), bounds.floor(1024, 0.1, 32))
    close(shown(page, "position"), bounds.position(3.3, 1024, 0.1, 32))
    curve = page.evaluate(
        "({x: document.getElementById('over-t').data[2].x,"
        " y: document.getElementById('over-t').data[2].y})"
    )
    close(curve["y"], bounds.floor(1024, np.array(curve["x"]), 32))
    page.locator("#d").fill("")
    settle(page)
    close(shown(page, "floor"), bounds.floor(1024, 0.1))
    page.locator("#variant").select_option("supcon_ref")
    settle(page)
    close(shown(page, "chance"), bounds.limits("supcon_ref", 1024, 0.1).chance)
    page.locator("#variant").select_option("moco")
    settle(page)
    close(shown(page, "floor"), bounds.limits("moco", 1024, 0.1, 65536).floor)
    assert page.locator("#views").is_hidden()
    page.locator("#variant").select_option("clip")
    page.locator("#hard").fill("7")
    settle(page)
    close(shown(page, "chance"), np.log(1024 * 8))
    page.locator("#variant").select_option("nt_xent")
    assert page.locator("#hard").is_hidden()
    page.locator("#views").fill("4")
    settle(page)
    close(shown(page, "chance"), np.log(4 * 1024 - 1))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n", "0", "N: received 0, expected an integer from 1"),
        ("n", "2.5", "N: received 2.5, expected an integer"),
        ("n", "", "N: type a number"),
        ("t", "0", "τ: received 0, expected a number from 0.001 to 100"),
        ("t", "-1", "τ: received -1"),
        ("d", "0", "d: received 0"),
        ("loss", "-3", "loss=-3: expected a number >= 0"),
        ("loss", "1e999", "Loss: received"),
    ],
)
def test_what_has_no_meaning_is_refused_in_words(page, name, value, message):
    page.locator(f"#{name}").fill(value)
    settle(page)
    assert page.locator("#headline").inner_text() == "This cannot be answered"
    assert message in page.locator("#sentences").inner_text()
    assert page.locator("#out-floor").inner_text() == "—"
    page.locator(f"#{name}").fill("2")
    settle(page)
    assert page.locator("#out-floor").inner_text() != "—"


def test_an_empty_loss_shows_the_limits_alone(page):
    page.locator("#loss").fill("")
    settle(page)
    close(shown(page, "floor"), bounds.floor(512, 0.5, 128))
    assert page.locator("#headline").inner_text() == "Type a loss"
    assert page.locator("#out-position").inner_text() == "—"


def dropped(page, text):
    """Drop a file of this text on the page."""
    page.evaluate(
        """text => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([text], "log.csv", { type: "text/csv" }));
          const drop = document.getElementById("drop");
          drop.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
        }""",
        text,
    )
    page.locator("#log-result, #log-error").locator("visible=true").first.wait_for()
    settle(page)


@pytest.mark.parametrize("count", [1, 10, 30, 50, 119])
def test_a_dropped_log_is_judged_as_the_library_judges_it(page, count):
    loss = losses(count, 512, 0.5, 128)
    dropped(page, "step,loss\n" + "".join(f"{k},{float(v)!r}\n" for k, v in enumerate(loss)))
    end = judge(Series(np.arange(count), loss), 512, 0.5, dim=128).end
    assert float(page.locator("#loss").input_value()) == pytest.approx(end.loss, rel=1e-12)
    close(shown(page, "position"), end.position)
    close(shown(page, "interval"), end.similarity_interval)
    drawn = page.evaluate("Array.from(document.getElementById('log-plot').data[0].y)")
    close(drawn, loss)


def test_a_pasted_log_of_another_tool_with_gaps_is_read(page):
    text = 'global_step;"train, loss";val_loss\n0;6.5;9\n1;NaN;9\n2;;8\n3;6.25;8\n4;broken\n'
    page.locator("#paste").fill(text)
    settle(page)
    assert page.locator("#column").input_value() == "train, loss"
    words = page.locator("#log-words").inner_text()
    assert "3 values of train, loss, 1 of them NaN or infinite" in words
    assert "1 lines of another length" in words
    assert page.locator("#loss").input_value() == "6.25"
    page.locator("#column").select_option("val_loss")
    settle(page)
    assert page.locator("#loss").input_value() == "8"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("only one line", "Expected a header and at least one row"),
        ("a,b,c\n1,2,3", "No column is named like a loss; the columns are a, b, c"),
        ("step,loss\n0,nan\n", "Column loss holds no finite number"),
        (f"step,{EVIL}\n0,1\n".replace(EVIL, f"{EVIL},x,y"), "No column is named like a loss"),
    ],
)
def test_a_log_that_cannot_be_read_is_said_so(page, text, message):
    dropped(page, text)
    assert message in page.locator("#log-error").inner_text()
    assert not page.locator("#log-result").is_visible()


def test_a_long_log_is_thinned_and_its_extremes_kept(page):
    loss = np.round(losses(5000, 512, 0.5, 128), 6)
    loss[1234] = 9.5
    dropped(page, "step,loss\n" + "".join(f"{k},{v}\n" for k, v in enumerate(loss)))
    low, high, mean = page.evaluate(
        "document.getElementById('log-plot').data.map((trace) => Array.from(trace.y))"
    )
    assert max(high) == 9.5
    assert len(mean) == 1000
    assert mean[0] == pytest.approx(loss[:5].mean(), rel=1e-12)
    assert all(a <= b <= c for a, b, c in zip(low, mean, high, strict=True))


def test_the_constants_are_the_librarys_own(page):
    from ntxent.diagnosis import verdict

    data = json.loads(page.locator("#page-data").text_content())["diagnosis"]
    assert data["at_floor"] == verdict.AT_FLOOR
    assert math.isclose(data["bfloat16"], verdict.BFLOAT16)


def test_a_browser_that_cannot_unpack_the_figures_says_so(browser, pages):
    context = browser.new_context()
    context.add_init_script("delete window.DecompressionStream")
    page = context.new_page()
    page.goto(pages["run"].as_uri())
    notice = page.locator("#no-figures")
    notice.wait_for(state="visible")
    assert "need a browser of 2023 or later" in notice.inner_text()
    assert page.locator("#verdict").is_visible()
    assert page.locator(".main-svg").count() == 0
    context.close()


def test_the_policy_refuses_a_script_that_was_not_written_with_the_page(browser, pages):
    context = browser.new_context()
    page = context.new_page()
    page.goto(pages["run"].as_uri())
    page.evaluate("Page.ready")
    ran = page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.injected = true";
          document.head.append(script);
          return window.injected === true;
        }"""
    )
    assert not ran
    context.close()
