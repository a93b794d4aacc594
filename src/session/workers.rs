//! What workers show, in the form in which the cell shows it: text with the worker's id before each
//! line, displays below a line that tells it.

use parcell_link::{Bundle, Publication, WorkerOutput};

use crate::stage::{Output, Stream};

/// Colours of the 256 that terminals and front ends know: each can be read on white and on black,
/// and neighbours differ.
const COLOURS: [u8; 6] = [33, 166, 98, 64, 132, 31];

/// The outputs that show it.
pub(super) fn outputs_of(worker: u32, what: WorkerOutput) -> Vec<Output> {
    match what {
        WorkerOutput::Text { stderr, text } => {
            let stream = if stderr { Stream::Stderr } else { Stream::Stdout };
            vec![Output::Text(stream, prefixed(worker, &text))]
        }
        WorkerOutput::Shown(publication) => shown(worker, *publication),
    }
}

fn shown(worker: u32, publication: Publication) -> Vec<Output> {
    let below = |output| {
        let head = format!("{}\n", origin(worker));
        vec![Output::Text(Stream::Stdout, head), output]
    };
    match publication {
        Publication::Display { bundle, id: None } | Publication::Result { bundle } => {
            match plain(&bundle) {
                Some(text) => vec![Output::Text(Stream::Stdout, prefixed(worker, text))],
                None => below(Output::Display(bundle, None)),
            }
        }
        Publication::Display { bundle, id } => below(Output::Display(bundle, id)),
        Publication::Update { bundle, id } => vec![Output::Update(bundle, id)],
        Publication::Clear { wait } => vec![Output::Clear { wait }],
        // No worker has workers of its own.
        Publication::Worker { worker, what } => outputs_of(worker, what),
    }
}

/// The text of a bundle that has nothing else.
fn plain(bundle: &Bundle) -> Option<&str> {
    (bundle.data.len() == 1).then(|| bundle.get("text/plain")).flatten()
}

/// `From worker 2:` in the worker's colour.
fn origin(worker: u32) -> String {
    let colour = COLOURS[worker.saturating_sub(2) as usize % COLOURS.len()];
    format!("\u{1b}[38;5;{colour}mFrom worker {worker}:\u{1b}[0m")
}

fn prefixed(worker: u32, text: &str) -> String {
    let origin = origin(worker);
    text.lines().map(|line| format!("{origin}\t{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(stream: Stream, text: &str) -> Output {
        Output::Text(stream, text.to_owned())
    }

    #[test]
    fn every_line_tells_its_worker() {
        let said = |stderr, text: &str| {
            outputs_of(3, WorkerOutput::Text { stderr, text: text.to_owned() })
        };
        let head = "\u{1b}[38;5;166mFrom worker 3:\u{1b}[0m";
        let lines = format!("{head}\ta\n{head}\t\n{head}\tb\n");
        assert_eq!(said(false, "a\n\nb\n"), [text(Stream::Stdout, &lines)]);
        assert_eq!(said(true, "oh"), [text(Stream::Stderr, &format!("{head}\toh\n"))]);
    }

    #[test]
    fn displays_follow_a_line_that_tells_the_worker() {
        let shown = |publication| outputs_of(2, WorkerOutput::Shown(Box::new(publication)));
        let head = "\u{1b}[38;5;33mFrom worker 2:\u{1b}[0m";
        let picture = Bundle::text("picture").with("image/png", "…");
        let result = Publication::Result { bundle: picture.clone() };
        let below = text(Stream::Stdout, &format!("{head}\n"));
        let display = Output::Display(picture.clone(), None);
        assert_eq!(shown(result), [below, display], "one cell has one result, workers have many");
        let update = Publication::Update { bundle: picture.clone(), id: "d".to_owned() };
        assert_eq!(shown(update), [Output::Update(picture, "d".to_owned())]);
        let number = Publication::Result { bundle: Bundle::text("5") };
        assert_eq!(shown(number), [text(Stream::Stdout, &format!("{head}\t5\n"))]);
    }

    #[test]
    fn colours_can_be_read_on_white_and_on_black() {
        let level = |step: u8| f64::from(if step == 0 { 0 } else { 55 + 40 * step }) / 255.0;
        let linear = |part: f64| ((part + 0.055) / 1.055).powf(2.4);
        for colour in COLOURS {
            let cube = colour - 16;
            let parts = [cube / 36, cube / 6 % 6, cube % 6].map(|step| linear(level(step)));
            let luminance = 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
            assert!(1.05 / (luminance + 0.05) > 3.5, "{colour} on white");
            assert!((luminance + 0.05) / 0.0556 > 4.0, "{colour} on the dark theme");
        }
    }
}
