//! The background start of a session: cell library, driver, a first call of the compiler so that
//! it lies in memory. The first cell waits for it and shows what takes so long.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use parcell_link::Bundle;

use super::driver::{Driver, Setting};
use super::folder::Folder;
use super::remote::Remote;
use crate::cells::{self, Library, Progress, Toolchain, Variant};
use crate::engine::LocalEngine;
use crate::stage::{Output, Stage};

/// A start under way.
pub(super) struct Starting {
    result: Receiver<Result<Started, String>>,
    progress: Arc<Mutex<Option<Progress>>>,
}

/// What a start brings.
pub(super) struct Started {
    pub(super) library: Library,
    pub(super) engine: LocalEngine,
    pub(super) driver: Driver,
    pub(super) clean_up: Vec<PathBuf>,
}

/// A stage for what a driver says before the first cell: nothing.
struct Nowhere;

impl Stage for Nowhere {
    fn show(&self, _output: Output) {}
    fn ask(&self, _prompt: &str, _password: bool) -> Option<String> {
        None
    }
}

impl Starting {
    pub(super) fn begin(remote: Remote, setting: Setting) -> Starting {
        let (send, result) = bounded(1);
        let progress = Arc::new(Mutex::new(None));
        let shown = Arc::clone(&progress);
        std::thread::spawn(move || {
            let mut tell = |p: Progress| {
                *shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(p);
            };
            // A session that was dropped meanwhile does not want the result.
            let _ = send.send(start(&remote, setting, &mut tell));
        });
        Starting { result, progress }
    }

    /// Waits for the end of the start, telling the user of progress; `None` if the cell was
    /// interrupted meanwhile.
    pub(super) fn wait(
        &self,
        stage: &dyn Stage,
        remote: &Remote,
    ) -> Option<Result<Started, String>> {
        let mut bar = Bar::new(stage);
        loop {
            match self.result.recv_timeout(Duration::from_millis(200)) {
                Ok(result) => {
                    if result.is_ok() {
                        bar.finish("the cell library is ready");
                    }
                    return Some(result);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Some(Err("the start ended without a result".to_owned()));
                }
                Err(RecvTimeoutError::Timeout) if remote.interrupted() => return None,
                Err(RecvTimeoutError::Timeout) => {
                    let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(progress) = progress.as_ref() {
                        bar.show(progress);
                    }
                }
            }
        }
    }
}

fn start(
    remote: &Remote,
    mut setting: Setting,
    tell: &mut dyn FnMut(Progress),
) -> Result<Started, String> {
    let toolchain = Toolchain::find().map_err(|e| e.to_string())?;
    let library = cells::prepare(Variant::of_environment(), tell).map_err(|e| e.to_string())?;
    let folder = Folder::create().map_err(|e| format!("no folder for the session: {e}"))?;
    setting.program.clone_from(&library.driver);
    setting.clean_up.push(folder.path().to_owned());
    let compilers = remote.compilers();
    let ahead = remote.ahead().clone();
    let engine = LocalEngine::new(folder.path(), toolchain, compilers, ahead);
    let driver = std::thread::scope(|scope| {
        scope.spawn(|| engine.warm_up(&library));
        Driver::start(&setting, Arc::new(Nowhere)).map_err(|e| e.to_string())
    })?;
    remote.set_driver(driver.pid(), driver.fleet().clone());
    remote.keep_folder(folder);
    remote.analyst().know(Arc::default(), &library);
    Ok(Started { library, engine, driver, clean_up: setting.clean_up })
}

/// Progress of something that a cell must wait for: one line, updated in place.
pub(super) struct Bar<'a> {
    stage: &'a dyn Stage,
    id: String,
    begun: Instant,
    shown: bool,
    last: String,
}

impl<'a> Bar<'a> {
    pub(super) fn new(stage: &'a dyn Stage) -> Bar<'a> {
        let id = uuid::Uuid::new_v4().to_string();
        Bar { stage, id, begun: Instant::now(), shown: false, last: String::new() }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        let Progress { text, done, total } = progress;
        let count = total.map(|t| format!(" ({done} of about {t})")).unwrap_or_default();
        self.write(&format!("{text}{count}, {} s", self.begun.elapsed().as_secs()));
    }

    /// The last line, only if there was one before.
    pub(super) fn finish(&mut self, text: &str) {
        if self.shown {
            self.write(&format!("{text} ({:.1} s)", self.begun.elapsed().as_secs_f64()));
        }
    }

    fn write(&mut self, text: &str) {
        if self.last == text {
            return;
        }
        text.clone_into(&mut self.last);
        let bundle = Bundle::text(text);
        let output = if std::mem::replace(&mut self.shown, true) {
            Output::Update(bundle, self.id.clone())
        } else {
            Output::Display(bundle, Some(self.id.clone()))
        };
        self.stage.show(output);
    }
}
