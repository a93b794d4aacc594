//! The kernelspec: the folder by which Jupyter knows a kernel. The template and the logos are the
//! files of `kernelspec/` in the source.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Error;
use super::files::{self, Change};

const TEMPLATE: &str = include_str!("../../kernelspec/kernel.json");
const LOGOS: [(&str, &[u8]); 3] = [
    ("logo-32x32.png", include_bytes!("../../kernelspec/logo-32x32.png")),
    ("logo-64x64.png", include_bytes!("../../kernelspec/logo-64x64.png")),
    ("logo-svg.svg", include_bytes!("../../kernelspec/logo-svg.svg")),
];

/// What a kernelspec of ours says.
#[derive(Debug, Clone)]
pub(super) struct Kernelspec {
    /// The program that Jupyter starts.
    pub(super) binary: PathBuf,
    /// The name people see.
    pub(super) display_name: String,
    /// Variables that Jupyter sets for the kernel; a later one wins over an earlier of its name.
    pub(super) environment: Vec<(String, String)>,
}

impl Kernelspec {
    /// The content of `kernel.json`.
    fn json(&self) -> Result<String, Error> {
        let mut spec: Value =
            serde_json::from_str(TEMPLATE).expect("the template is checked by a test");
        spec["argv"][0] = json!(text(&self.binary)?);
        spec["display_name"] = json!(self.display_name);
        for (name, value) in &self.environment {
            spec["env"][name] = json!(literal(value));
        }
        Ok(format!("{spec:#}\n"))
    }

    /// Writes the folder.
    pub(super) fn write(&self, folder: &Path) -> Result<Change, Error> {
        if folder.join("kernel.json").exists() && binary_of(folder).is_none() {
            return Err(Error::ForeignSpec(folder.to_owned()));
        }
        for (name, content) in LOGOS {
            files::write(&folder.join(name), content, files::PLAIN)?;
        }
        files::write(&folder.join("kernel.json"), self.json()?.as_bytes(), files::PLAIN)
    }
}

/// The path as the text that JSON needs.
pub(super) fn text(path: &Path) -> Result<&str, Error> {
    path.to_str().ok_or_else(|| Error::NotUtf8(path.to_owned()))
}

/// Jupyter replaces `${NAME}` in values and reads `$$` as one dollar.
fn literal(value: &str) -> String {
    value.replace("$$", "$$$$")
}

/// The program that the kernelspec in `folder` starts, if the kernelspec is one of ours.
pub(super) fn binary_of(folder: &Path) -> Option<PathBuf> {
    let spec: Value = serde_json::from_slice(&fs::read(folder.join("kernel.json")).ok()?).ok()?;
    let binary = PathBuf::from(spec["argv"][0].as_str()?);
    let ours = binary.file_name()?.to_str()?.contains("parcell") && spec["argv"][1] == "kernel";
    ours.then_some(binary)
}

/// The variables that the kernelspec in `folder` sets for its kernel; none if there is none.
pub(super) fn environment_of(folder: &Path) -> Vec<(String, String)> {
    let spec = fs::read(folder.join("kernel.json")).unwrap_or_default();
    let spec: Value = serde_json::from_slice(&spec).unwrap_or_default();
    let variables = spec["env"].as_object().into_iter().flatten();
    variables.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// All kernelspecs of ours below a `kernels` folder: their folders and programs.
pub(super) fn ours_in(kernels: &Path) -> Vec<(PathBuf, PathBuf)> {
    let folders = fs::read_dir(kernels).into_iter().flatten().flatten().map(|e| e.path());
    let mut ours: Vec<_> = folders.filter_map(|f| Some((f.clone(), binary_of(&f)?))).collect();
    ours.sort();
    ours
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Kernelspec {
        let environment = [("A", "old"), ("A", "new \"quoted\""), ("B", "$$ ${HOME}")];
        Kernelspec {
            binary: "/opt/p/share/parcell/bin/parcell".into(),
            display_name: "Rust {x}".into(),
            environment: environment.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec(),
        }
    }

    #[test]
    fn kernel_json_says_what_jupyter_needs() {
        let spec: Value = serde_json::from_str(&spec().json().unwrap()).unwrap();
        let argv = json!(["/opt/p/share/parcell/bin/parcell", "kernel", "-f", "{connection_file}"]);
        let expected = json!({
            "argv": argv, "display_name": "Rust {x}", "language": "rust",
            "interrupt_mode": "message", "kernel_protocol_version": "5.5",
            "env": {"A": "new \"quoted\"", "B": "$$$$ ${HOME}"}, "metadata": {},
        });
        assert_eq!(spec, expected);
    }

    #[test]
    fn a_written_folder_is_recognised_and_a_second_write_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mine = folder.path().join("parcell");
        assert_eq!(spec().write(&mine).unwrap(), Change::Written);
        assert_eq!(spec().write(&mine).unwrap(), Change::Kept);
        assert_eq!(ours_in(folder.path()), [(mine.clone(), spec().binary)]);
        for (logo, content) in LOGOS {
            assert_eq!(fs::read(mine.join(logo)).unwrap(), content);
        }
    }

    #[test]
    fn another_kernels_folder_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let python = r#"{"argv": ["python", "-m", "ipykernel_launcher"]}"#;
        fs::write(folder.path().join("kernel.json"), python).unwrap();
        assert!(matches!(spec().write(folder.path()), Err(Error::ForeignSpec(_))));
        assert_eq!(fs::read_to_string(folder.path().join("kernel.json")).unwrap(), python);
        assert_eq!(binary_of(folder.path()), None);
    }
}
