//! Pictures of plain programs: where no notebook shows them, they can be kept as files.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parcell_link::Bundle;

/// The folder for pictures, if the user wants them: made when the first one comes.
const FOLDER: &str = "PARCELL_DISPLAYS";

/// MIME types of pictures, best first, each with the ending of its files.
const PICTURES: [(&str, &str); 4] =
    [("image/png", "png"), ("image/svg+xml", "svg"), ("image/jpeg", "jpg"), ("image/gif", "gif")];

/// Who has which number: a display that is updated keeps its own.
#[derive(Default)]
struct Numbers {
    last: usize,
    of_display: HashMap<String, usize>,
}

static NUMBERS: LazyLock<Mutex<Numbers>> = LazyLock::new(Mutex::default);

/// Writes the picture of something shown to a file, if it has one and the user wants files; its
/// path. A page of html that moves (an animation) is written beside its picture, and is the path.
///
/// # Errors
/// What could not be written, and why.
pub(crate) fn save(bundle: &Bundle, id: Option<&str>) -> Result<Option<PathBuf>, String> {
    let Some(folder) = std::env::var_os(FOLDER).filter(|folder| !folder.is_empty()) else {
        return Ok(None);
    };
    save_in(Path::new(&folder), bundle, || number(id))
}

fn save_in(
    folder: &Path,
    bundle: &Bundle,
    number: impl FnOnce() -> usize,
) -> Result<Option<PathBuf>, String> {
    let found = PICTURES.iter().find_map(|(mime, end)| Some((bundle.get(mime)?, *end)));
    let Some((data, ending)) = found else { return Ok(None) };
    let bytes = match ending {
        "svg" => data.as_bytes().to_vec(),
        _ => STANDARD.decode(data.trim()).map_err(|e| format!("a picture is damaged: {e}"))?,
    };
    let name = format!("{:03}", number());
    let write = |ending: &str, bytes: &[u8]| {
        let path = folder.join(format!("{name}.{ending}"));
        let failed = |e| format!("{} cannot be written ({FOLDER}): {e}", path.display());
        fs::create_dir_all(folder).and_then(|()| fs::write(&path, bytes)).map_err(failed)?;
        Ok::<_, String>(path)
    };
    let picture = write(ending, &bytes)?;
    let page = bundle.get("text/html").map(|page| write("html", page.as_bytes())).transpose()?;
    Ok(Some(page.unwrap_or(picture)))
}

fn number(id: Option<&str>) -> usize {
    let mut numbers = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = id.and_then(|id| numbers.of_display.get(id).copied());
    known.unwrap_or_else(|| {
        numbers.last += 1;
        let number = numbers.last;
        numbers.of_display.extend(id.map(|id| (id.to_owned(), number)));
        number
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_become_files_and_texts_do_not() {
        let folder = std::env::temp_dir().join(format!("parcell-saved-{}", std::process::id()));
        let save = |bundle: &Bundle, number| save_in(&folder, bundle, || number);
        let table = Bundle::text("1 2").with("text/html", "<table>");
        assert_eq!(save(&table, 1), Ok(None));
        assert!(!folder.exists());

        let svg = Bundle::text("<svg>").with("image/svg+xml", "<svg/>");
        let path = save(&svg, 1).unwrap().unwrap();
        assert_eq!(path, folder.join("001.svg"));
        assert_eq!(fs::read_to_string(path).unwrap(), "<svg/>");

        let moving = Bundle::text("").with("image/png", "AQID").with("text/html", "<html>");
        assert_eq!(save(&moving, 2).unwrap(), Some(folder.join("002.html")));
        assert_eq!(fs::read(folder.join("002.png")).unwrap(), [1, 2, 3]);

        let damaged = Bundle::text("").with("image/png", "?");
        assert!(save(&damaged, 3).unwrap_err().contains("damaged"));
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "a file").unwrap();
        assert!(save(&svg, 4).unwrap_err().contains("004.svg cannot be written"));
        fs::remove_file(&folder).unwrap();
    }

    #[test]
    fn a_display_keeps_its_number() {
        let first = number(Some("a display of this test"));
        assert_ne!(number(None), first);
        assert_eq!(number(Some("a display of this test")), first);
    }
}
