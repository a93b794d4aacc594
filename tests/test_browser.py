"""JupyterLab in a real browser, as a person at a workshop meets it. Screenshots stay in
`tests/screenshots` to be looked at."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import PATIENCE
from playwright.sync_api import Page, expect, sync_playwright
from test_tools import notebook

CHROMIUM = Path("/usr/bin/chromium")
ROOT = Path(__file__).parent.parent
PICTURES = Path(__file__).parent / "screenshots"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
]

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is missing: apt-get install chromium"),
    pytest.mark.timeout(600),
]


@dataclass
class Lab:
    """A running JupyterLab and the folder that it shows."""

    address: str
    folder: Path


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[Lab]:
    """A JupyterLab on a copy of the notebooks."""
    folder = tmp_path_factory.mktemp("lab")
    for name in NOTEBOOKS:
        shutil.copy(ROOT / "notebooks" / name, folder)
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0",
        "--IdentityProvider.token=", "--expose-app-in-browser", f"--ServerApp.root_dir={folder}",
        "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) as server:
        for line in server.stderr:
            if found := re.search(r"http://(localhost|127\.0\.0\.1):\d+", line):
                break
        else:
            pytest.fail("JupyterLab did not start")
        drain = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
        yield Lab(found[0], folder)
        server.terminate()
        drain.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Debian's Chromium without a window."""
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        expect.set_options(timeout=60_000)
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser) -> Iterator[Page]:
    """An empty page, closed after the test."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(60_000)
    yield page
    page.close()


def open_notebook(page: Page, lab: Lab, name: str):
    """Opens a notebook and waits for its kernel."""
    page.goto(f"{lab.address}/lab/tree/{name}?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    wait_for_idle(page)


def wait_for_idle(page: Page, timeout: float = PATIENCE):
    """Waits until the kernel is connected and has nothing left to do."""
    status = page.locator(".jp-StatusBar-Widget", has_text="Rust (parcell) | ")
    expect(status).to_contain_text("Idle", timeout=timeout * 1000)


def menu(page: Page, *path: str):
    """Chooses an entry of the menu bar."""
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{path[0]}$")).click()
    for entry in path[1:]:
        page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{entry}$")).click()


def new_notebook(page: Page, lab: Lab, name: str, *sources: str):
    """Opens a new notebook with these cells."""
    notebook(lab.folder / name, *sources)
    open_notebook(page, lab, name)


def run_cell(page: Page, number: int):
    """Runs one cell to its end."""
    cell = page.locator(".jp-CodeCell").nth(number)
    cell.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    prompt = cell.locator(".jp-InputArea-prompt")
    expect(prompt).to_have_text(re.compile(r"\[\d+\]"), timeout=PATIENCE * 1000)


def run_all(page: Page) -> list[list[str]]:
    """Runs all cells to their end; returns the types of the outputs of each code cell."""
    menu(page, "Run", "Run All Cells")
    # Cells far from the view are not drawn: JupyterLab's own model of the notebook is asked.
    cells = """[...jupyterapp.shell.currentWidget.content.model.cells].filter(c => c.type == 'code')"""
    page.wait_for_function(f"() => {cells}.every(c => c.executionCount)", timeout=280_000)
    wait_for_idle(page)
    return page.evaluate(f"() => {cells}.map(c => c.outputs.toJSON().map(o => o.output_type))")


NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_from_top_to_bottom(page, lab, name):
    cells = json.loads((ROOT / "notebooks" / name).read_text())["cells"]
    meant_to_fail = sum("raises-exception" in c["metadata"].get("tags", []) for c in cells)
    open_notebook(page, lab, name)
    menu(page, "Edit", "Clear Outputs of All Cells")
    outputs = run_all(page)
    assert sum(types.count("error") for types in outputs) == meant_to_fail
    # As tall as the browser can: JupyterLab draws what is in view only.
    page.set_viewport_size({"width": 1280, "height": 16_000})
    page.get_by_role("heading", level=1).first.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)  # for the pictures to settle; nothing is asserted on them
    page.screenshot(path=PICTURES / name.replace(".ipynb", ".png"))


def test_rust_is_highlighted(page, lab):
    new_notebook(page, lab, "colours.ipynb", 'fn add(a: i32) -> i32 {\n    // words\n    a + 1\n}\nlet text = "s";')
    page.wait_for_selector(".jp-CodeCell .cm-content span")
    for token in ("fn", "let", "// words", '"s"'):
        # The grammar is loaded after the text is shown.
        page.wait_for_function(
            """token => [...document.querySelectorAll('.jp-CodeCell .cm-content span')].some(s =>
                   s.innerText === token
                   && getComputedStyle(s).color !== getComputedStyle(s.closest('.cm-content')).color)""",
            arg=token,
        )


def test_completion_pops_up(page, lab):
    new_notebook(page, lab, "completion.ipynb", "let mut numbers = vec![1];", "")
    run_cell(page, 0)
    page.locator(".jp-CodeCell .cm-content").nth(1).click()
    page.keyboard.type("numbers.so")
    page.keyboard.press("Tab")
    offers = page.locator(".jp-Completer .jp-Completer-item")
    expect(offers.filter(has_text="sort_by_key").first).to_be_visible()
    page.screenshot(path=PICTURES / "completion.png")


def test_an_error_is_shown_in_colour(page, lab):
    new_notebook(page, lab, "error.ipynb", 'let a = 1;\nlet b: i32 = "two";', 'panic!("on purpose")')
    for number in range(2):
        run_cell(page, number)
    errors = page.locator(".jp-OutputArea-output[data-mime-type*=error], .jp-OutputArea-output[data-mime-type*=stderr]")
    expect(errors).to_have_count(2)
    assert "mismatched types" in errors.first.inner_text()
    assert "on purpose" in errors.last.inner_text()
    assert errors.first.locator("span[class*=ansi]").count() > 3
    page.screenshot(path=PICTURES / "error.png")


def test_a_progress_bar_moves_and_ends(page, lab):
    new_notebook(page, lab, "progress.ipynb", "for _ in progress(0..100) { sleep(0.03); }")
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    output = page.locator(".jp-CodeCell .jp-OutputArea-output").first
    expect(output).to_contain_text(re.compile(r"\b[1-9]\d?\s?(%|/)"))
    early = output.inner_text()
    page.screenshot(path=PICTURES / "progress.png")
    wait_for_idle(page)
    expect(output).to_contain_text("100")
    assert output.inner_text() != early
    assert page.locator(".jp-CodeCell .jp-OutputArea-output").count() == 1
    page.screenshot(path=PICTURES / "progress-done.png")


PICTURES_OF_NUMBERS = [
    """let grid = parcell::ndarray::Array2::from_shape_fn((60, 80), |(i, j)| {
    let (x, y) = (j as f64 / 13.0, i as f64 / 9.0);
    if x.hypot(y) < 1.0 { f64::NAN } else { x.sin() * y.cos() }
});
heatmap(&grid, Colormap::Viridis).title("Waves").x_label("column").y_label("row")""",
    """Chart::new()
    .line("measured", [1, 2, 4, 8], [1.0, 1.9, 3.6, 6.2])
    .line("ideal", [1, 2, 4, 8], [1, 2, 4, 8])
    .title("Speed-up").x_label("threads").y_label("times as fast")""",
    'Chart::new().bars("time / ms", ["serial", "par_for", "rayon"], [410, 105, 101]).size(420, 280)',
    """let ms = std::time::Duration::from_millis;
let spans = (0..12).map(|i| Span { lane: i % 3, label: i, start: ms(i / 3 * 9 + i), end: ms(i / 3 * 9 + i + 7) });
timeline(spans).title("Who ran what when")""",
    """fn ring(t: i32) -> Image {
    Image::from_fn(120, 80, |x, y| f64::from((x as i32 - 60).pow(2) + (y as i32 - 40).pow(2) < t * t))
}""",
    "animate((0..24).map(ring))",
    "animate((0..24).map(ring)).fps(20).looped(false)",
]


def change_theme(page: Page, theme: str):
    """Changes JupyterLab's theme and waits until it is in force."""
    page.evaluate(f"() => jupyterapp.commands.execute('apputils:change-theme', {{theme: '{theme}'}})")
    page.wait_for_selector(f"body[data-jp-theme-name='{theme}']", state="attached")


def test_pictures_in_light_and_dark(page, lab):
    page.set_viewport_size({"width": 1000, "height": 3600})
    new_notebook(page, lab, "pictures.ipynb", *PICTURES_OF_NUMBERS)
    outputs = run_all(page)
    assert outputs == [["execute_result"]] * 4 + [[]] + [["execute_result"]] * 2
    pictures = page.locator(".jp-OutputArea-output img")
    expect(pictures).to_have_count(6)
    for picture in pictures.all():
        assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
    for theme in ("Light", "Dark"):
        change_theme(page, f"JupyterLab {theme}")
        page.wait_for_timeout(500)  # for the colours to settle; nothing is asserted on them
        page.screenshot(path=PICTURES / f"pictures-{theme.lower()}.png")
    change_theme(page, "JupyterLab Light")


def test_players_do_not_disturb_each_other(page, lab):
    new_notebook(page, lab, "players.ipynb", *PICTURES_OF_NUMBERS[4:])
    run_all(page)
    players = page.locator(".jp-OutputArea-output div:has(> input[type=range])").locator("..")
    expect(players).to_have_count(2)
    endless, once = players.all()

    def number(player):
        return player.locator("output")

    # Both play by themselves; the second ends at its last frame.
    expect(number(once)).to_have_text("24 / 24")
    expect(once.locator("button")).to_have_attribute("aria-label", "Play")
    endless.locator("button").click()
    expect(endless.locator("button")).to_have_attribute("aria-label", "Play")
    endless.locator("input").fill("4")
    expect(number(endless)).to_have_text("5 / 24")
    first, second = (player.locator("img").get_attribute("src") for player in (endless, once))
    assert first != second
    once.locator("input").fill("4")
    expect(once.locator("img")).to_have_attribute("src", first)
    endless.locator("button").click()
    expect(number(endless)).not_to_have_text("5 / 24")
    expect(number(once)).to_have_text("5 / 24")
