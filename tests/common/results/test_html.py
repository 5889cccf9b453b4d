"""The report page: whole, escaped, closed to the network; and in a browser, where there is one."""

import asyncio
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lxml.html
import pytest
from PIL import Image

from common.results import html, record
from tests import browser

Make = Callable[..., dict[str, Any]]
HOSTILE = "</script></style><img src=x onerror=alert(1)>"
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


@pytest.fixture
def page(recipe: Path, make_record: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a recipe with four records and an analysis, and of one without any; made once."""
    kept = tmp_path_factory.getbasetemp() / "report.html"
    if kept.exists():
        return kept
    (recipe / "README.md").write_text("# demo: which clips more?\n")
    claims = (recipe / "claims.yaml").read_text().replace("clips more", f"clips more {HOSTILE}")
    (recipe / "claims.yaml").write_text(re.sub(r"(kind: \w+)", r"\1\n  headline: true", claims))
    other = shutil.copytree(recipe, recipe.with_name("other"))
    results = recipe.parent.parent / "results"
    for arm, clip in (("gspo", 0.2), ("grpo", 0.002)):
        for seed in (1, 2):
            made = make_record(arm, seed, clip=clip, accuracy=0.7 if arm == "gspo" else 0.4)
            made["provenance"]["hardware"]["cpu"] = HOSTILE
            record.write(made, record.record_path(results / "demo", made))
    analysis = results / "demo/micro/analysis/passk.md"
    analysis.parent.mkdir()
    table = "|a|b|\n|---|---|\n|0.25|1|\n"
    analysis.write_text(f"# pass@k\n\n## {HOSTILE}\n\n{table}\n![x](passk.png)\n")
    Image.new("RGB", (8, 8), "white").save(analysis.with_suffix(".png"))
    kept.write_text(html.render([other, recipe], results))
    assert kept.read_text() == html.render([other, recipe], results)
    return kept


def test_the_page_says_what_the_records_say(page: Path) -> None:
    found = lxml.html.parse(page).getroot()
    rows = found.xpath("//table[@aria-label='headline claims with a verdict']/tbody/tr")
    told = [[" ".join(cell.text_content().split()) for cell in row] for row in rows]
    assert [(t[0], t[2]) for t in told] == [
        ("demo", "holds at micro"),
        ("demo", "holds paper: not tested at paper scale; micro analogue"),
    ]
    assert told[0][1].startswith(f"GSPO clips more {HOSTILE} Figure 2 · mechanism")
    assert re.fullmatch(r"[\d.]+ \[\d+, \d+\] 2 seeds, log scale", told[0][4])
    assert told[0][5] == "115 0.15 over 0.0013"
    drawn = rows[0].xpath(".//*[local-name()='circle']")
    assert len(drawn) == 1 and 0 < float(drawn[0].get("cx")) < 240
    assert "not run" in found.get_element_by_id("other").text_content().lower()
    assert found.xpath("//figure[@class='analysis']//td/text()") == ["0.25", "1"]
    assert HOSTILE in found.xpath("//figure[@class='analysis']//h5/text()")[0]


def test_nothing_leads_out_and_nothing_comes_in(page: Path) -> None:
    found = lxml.html.parse(page).getroot()
    assert len(found.xpath("//script")) == 1 and len(found.xpath("//style")) == 1
    assert not found.xpath("//@*[starts-with(name(), 'on')]")
    for link in found.xpath("//@src | //@href | //@*[name()='xlink:href']"):
        assert link.startswith(("#", "data:")), link
    assert not re.search(r"url\((?!#)|@import", page.read_text())
    policy = found.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")[0]
    assert policy.startswith("default-src 'none'; img-src data:")


def test_the_page_can_be_heard(page: Path) -> None:
    """One h1, no level left out, names on figures and regions, and every anchor has its end."""
    found = lxml.html.parse(page).getroot()
    levels = [int(e.tag[1]) for e in found.iter(*HEADINGS)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))
    ids = found.xpath("//@id")
    assert len(ids) == len(set(ids))
    assert {h[1:] for h in found.xpath("//@href[starts-with(., '#')]")} <= set(ids)
    assert all(found.xpath("//img/@alt")) and len(found.xpath("//img[@alt]")) == 1
    assert not found.xpath("//*[@role='img' or @role='region'][not(@aria-label)]")
    assert not found.xpath("//th[not(@scope)][ancestor::section[@id='headlines']]")
    assert found.xpath("//html/@lang") == ["en"]


def test_panels_keep_the_numbers_of_their_ticks(make_record: Make) -> None:
    """Places are rounded, what a person reads is not."""
    from common.results import charts

    legend, panels = charts.curves([make_record("gspo", seed, clip=0.0021) for seed in (1, 2)])
    assert [(arm.name, arm.seeds) for arm in legend] == [("gspo", 2)]
    svg = next(panel.svg for panel in panels if panel.metric == "actor/pg_clipfrac")
    ticks = [float(t) for t in re.findall(r">(0\.\d+)</text>", svg)]
    assert ticks and all(0.001 < tick < 0.004 for tick in ticks)
    assert svg.count('class="arm-0"') == 2  # the line, and the band of its two seeds
    assert len(panels) == 6  # of what the record logged


@pytest.mark.component
@pytest.mark.skipif(not browser.program(), reason=f"no browser here: {browser.PROGRAMS}")
def test_a_browser_shows_it(page: Path, tmp_path: Path) -> None:
    asyncio.run(look(page, tmp_path))


async def look(file: Path, folder: Path) -> None:
    rows = "[...document.querySelectorAll('#headlines .claims tbody tr')]"
    visible = f"{rows}.filter(row => row.checkVisibility()).length"
    choose = "s => {{ s.value = {!r}; s.dispatchEvent(new Event('change', {{bubbles: true}})) }}"
    async with browser.chromium(folder / "profile") as page:
        await page.open(file.as_uri(), 1280, 900)
        assert await page.value(visible) == 2
        for name, value, left in (("scale", "node8", 0), ("scale", "micro", 2)):
            pick = f"({choose.format(value)})(document.querySelector('[name={name}]'))"
            await page.value(pick)
            assert await page.value(visible) == left
        await page.value(f"({choose.format('other')})(document.querySelector('[name=recipe]'))")
        assert await page.value("document.getElementById('demo').hidden") is True
        assert await page.value("location.hash") == "#recipe=other&scale=micro"
        assert "0 of 2" in await page.value("document.querySelector('output').value")
        await page.value(f"({choose.format('demo')})(document.querySelector('[name=recipe]'))")
        await page.value("document.querySelector('[data-arm=arm-1]').click()")
        assert await page.value("document.querySelector('.panel .arm-1').style.display") == "none"
        await page.screenshot(folder / "light.png")
        for _ in range(2):  # auto, light, dark
            await page.value("document.getElementById('theme').click()")
        await page.screenshot(folder / "dark.png")
        for name, least, most in (("light", 720, 765), ("dark", 0, 90)):
            with Image.open(folder / f"{name}.png") as picture:
                assert picture.size == (1280, 900) and len(picture.getcolors(1 << 24)) > 50
                assert least <= sum(picture.convert("RGB").getpixel((3, 3))) <= most
        await page.open(file.as_uri(), 390, 844)
        width = await page.value("document.documentElement.scrollWidth")
        assert width == 390  # nothing sticks out on a phone
        assert page.errors == []
        assert [r for r in page.requests if not r.startswith("data:")] == [file.as_uri()] * 2
