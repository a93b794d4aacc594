"""Pictures of numbers as they reach a front end: MIME types, pixels, errors."""

import base64
import struct

import pytest

PICTURES = {
    "heatmap": (
        "let grid = parcell::ndarray::Array2::from_shape_fn((3, 4), |(i, j)| (i * j) as f32);\n"
        'heatmap(&grid, Colormap::Viridis).title("products")',
        "<heatmap, 3 rows x 4 columns, 0 to 6>",
    ),
    "heatmap of a slice": (
        "let flat = vec![1_u8, 2, 3, 4];\nheatmap((&flat, 2), Colormap::Magma).log()",
        "<heatmap, 2 rows x 2 columns, 1 to 4>",
    ),
    "image": (
        "Image::new(parcell::ndarray::array![[true, false]]).scale(20)",
        "<png, 40 x 20 pixels>",
    ),
    "plot": (
        "plot(1..=4, [1.0, 1.9, 2.7, 3.5])",
        "<chart, 1 series>",
    ),
    "chart": (
        'Chart::new().line("a", [1, 2], [1, 2]).scatter("b", [1, 2], [2, 1]).log_x().log_y()',
        "<chart, 2 series: a, b>",
    ),
    "bars": (
        'Chart::new().bars("ms", ["serial", "rayon"], [40.0, 11.5]).title("Times")',
        '<chart "Times", 1 series: ms>',
    ),
    "timeline": (
        "let ms = std::time::Duration::from_millis;\n"
        "timeline((0..4).map(|i| Span { lane: i % 2, label: i, start: ms(i), end: ms(i + 2) }))",
        "<timeline, 4 spans in 2 lanes>",
    ),
    "animation": (
        "animate((0..3).map(|t| Image::from_fn(8, 8, |x, _| f64::from(x == t)))).fps(5)",
        "<animation, 3 frames, 5 per second>",
    ),
}


def png_size(bundle: dict) -> tuple[int, int]:
    """Width and height in the header of a bundle's picture."""
    file = base64.b64decode(bundle["image/png"])
    assert file.startswith(b"\x89PNG")
    return struct.unpack(">II", file[16:24])


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_come_as_png_with_a_line_of_text(kernel, name):
    source, text = PICTURES[name]
    bundle = kernel.ok(source).results[-1]
    assert bundle["text/plain"] == text
    assert min(png_size(bundle)) >= 8
    assert kernel.ok(source).results[-1] == bundle, "the same each time"


def test_a_player_comes_with_a_still(kernel):
    bundle = kernel.ok(PICTURES["animation"][0]).results[-1]
    assert bundle["text/html"].count("iVBORw0KGgo") == 3
    assert png_size(bundle) == (8, 8)


def test_a_picture_is_shown_with_half_its_pixels(kernel):
    output = kernel.ok("show(&plot([0, 1], [0, 1]));").of("display_data")[0]
    assert png_size(output["data"]) == (1280, 800)
    assert output["metadata"]["image/png"] == {"width": 640, "height": 400}


MISTAKES = {
    "heatmap((&[1, 2, 3], 2), Colormap::Viridis)": "3 elements do not make whole rows of 2",
    "heatmap(vec![vec![1], vec![]], Colormap::Viridis)": "row 1 has 0 elements, row 0 has 1",
    "plot([1, 2], [1])": "2 xs, but 1 ys",
    "plot([0], [1]).log_x()": "x = 0 at index 0 has no place on a logarithmic axis",
    "Chart::new()": "nothing to draw",
    "animate(Vec::<Image>::new())": "an animation without frames",
}


@pytest.mark.parametrize("source", MISTAKES)
def test_mistakes_are_told_with_their_numbers(kernel, source):
    assert MISTAKES[source] in kernel.run(source).error_text


@pytest.mark.parametrize("source", ["heatmap((&[1], 2), Colormap::Grey)", "plot([1], [1, 2])"])
def test_mistakes_are_told_with_their_line(kernel, source):
    result = kernel.run(f"let before = 1;\n{source}")
    assert f"[cell {result.reply['execution_count']}, line 2]" in result.error_text


def test_pictures_are_saved(kernel, tmp_path):
    kernel.ok(
        f'let chart = plot(0..9, 0..9);\nchart.save("{tmp_path}/line.svg").unwrap();\n'
        f'chart.save("{tmp_path}/line.png").unwrap();'
    )
    assert (tmp_path / "line.svg").read_text().startswith("<svg")
    assert (tmp_path / "line.png").read_bytes().startswith(b"\x89PNG")
