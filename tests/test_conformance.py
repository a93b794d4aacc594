"""Jupyter's own conformance suite with every optional test switched on."""

import jupyter_kernel_test
from conftest import KERNEL


class ParcellTests(jupyter_kernel_test.KernelTests):
    """All hooks of the suite; none is left at its default."""

    kernel_name = KERNEL
    language_name = "rust"
    file_extension = ".rs"

    code_hello_world = 'println!("hello, world")'
    code_stderr = 'eprintln!("test")'
    completion_samples = [
        {"text": "%thr", "matches": ["%threads"]},
        {"text": 'let text = String::from("a"); text.to_lowerc', "matches": ["to_lowercase"]},
    ]
    complete_code_samples = ["1 + 2", 'println!("ok");', "fn f(x: i32) -> i32 {\n    x\n}", "%threads"]
    incomplete_code_samples = ["fn f(x: i32) -> i32 {", 'println!("', "let v = vec![1,", "/* open"]
    invalid_code_samples = ["let x = )", "fn f(] {}", "}"]
    code_page_something = "%help"
    code_generate_error = 'panic!("on purpose")'
    code_execute_result = [
        {"code": "6 * 7", "result": "42"},
        {"code": "vec![1, 2, 3]", "result": "[1, 2, 3]"},
        {"code": '"two words"', "result": '"two words"'},
        {"code": 'Html("<b>bold</b>")', "result": "<b>bold</b>", "mime": "text/html"},
    ]
    code_display_data = [
        {"code": 'show(&Html("<i>slanted</i>"));', "mime": "text/html"},
        {"code": """show(&Svg("<svg xmlns='http://www.w3.org/2000/svg'/>"));""", "mime": "image/svg+xml"},
        {"code": 'show(&Markdown("*slanted*"));', "mime": "text/markdown"},
        {"code": 'show(&Latex("$x^2$"));', "mime": "text/latex"},
        {"code": "show(&Image::from_fn(2, 2, |x, y| (x + y) as f64 / 2.));", "mime": "image/png"},
    ]
    code_history_pattern = "6 ? 7*"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "println!"
    code_clear_output = "clear_output(false);"


class ParcellWelcomeTests(jupyter_kernel_test.IopubWelcomeTests):
    """A new subscription is greeted."""

    kernel_name = KERNEL
    support_iopub_welcome = True


# Imported base classes would be collected as tests of the python3 kernel.
del jupyter_kernel_test
