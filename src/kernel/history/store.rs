//! The history's database. Numbers of sessions and lines are as in IPython.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::{Connection, Params, params};
use serde_json::{Value, json};

use crate::wire::content::HistoryAccess;

/// How long to wait for another kernel that is writing.
const PATIENCE: Duration = Duration::from_secs(2);

// No write-ahead log: home directories are often network file systems, where it does not work.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS sessions (
        session INTEGER PRIMARY KEY AUTOINCREMENT,
        started TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
    );
    CREATE TABLE IF NOT EXISTS cells (
        session INTEGER NOT NULL,
        line INTEGER NOT NULL,
        source TEXT NOT NULL,
        output TEXT,
        PRIMARY KEY (session, line)
    );";

/// The history of all sessions, and the number of this one.
#[derive(Debug)]
pub(super) struct Store {
    database: Connection,
    session: i64,
    failed: AtomicBool,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    session: i64,
    line: i64,
    source: String,
    output: Option<String>,
}

impl Entry {
    /// As the reply has it.
    pub(super) fn shown(&self, with_output: bool) -> Value {
        let Entry { session, line, source, output } = self;
        if with_output {
            json!([session, line, [source, output]])
        } else {
            json!([session, line, source])
        }
    }
}

impl Store {
    /// Opens the history in `file`, or an empty one in memory where that cannot be written.
    pub(super) fn open(file: Option<&Path>) -> Store {
        let opened = file.and_then(|file| {
            Store::in_file(file)
                .inspect_err(|error| {
                    let file = file.display();
                    tracing::warn!(%file, %error, "the history will not outlive this kernel");
                })
                .ok()
        });
        opened.unwrap_or_else(Store::in_memory)
    }

    fn in_file(file: &Path) -> rusqlite::Result<Store> {
        if let Some(folder) = file.parent() {
            // Where this fails, so does the next step, with a better message.
            let _ = fs::create_dir_all(folder);
        }
        Store::begin(Connection::open(file)?)
    }

    fn in_memory() -> Store {
        let begun = Connection::open_in_memory().and_then(Store::begin);
        begun.expect("a database in memory depends on nothing outside")
    }

    /// Begins a new session. That writes, and so finds out whether writing works.
    fn begin(database: Connection) -> rusqlite::Result<Store> {
        database.busy_timeout(PATIENCE)?;
        database.execute_batch(SCHEMA)?;
        database.execute("INSERT INTO sessions DEFAULT VALUES", [])?;
        let session = database.last_insert_rowid();
        Ok(Store { database, session, failed: AtomicBool::new(false) })
    }

    /// Records the source of a cell of this session.
    pub(super) fn record_input(&self, line: u32, source: &str) {
        let sql = "INSERT OR REPLACE INTO cells (session, line, source) VALUES (?1, ?2, ?3)";
        self.write(sql, params![self.session, line, source]);
    }

    /// Records what a cell of this session resulted in.
    pub(super) fn record_output(&self, line: u32, output: &str) {
        let sql = "UPDATE cells SET output = ?3 WHERE session = ?1 AND line = ?2";
        self.write(sql, params![self.session, line, output]);
    }

    /// A failure is logged once: losing history must not disturb work.
    fn write(&self, sql: &str, values: impl Params) {
        if let Err(error) = self.database.execute(sql, values)
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, "the history cannot be written");
        }
    }

    /// The cells that are asked for, oldest first.
    pub(super) fn find(&self, access: &HistoryAccess) -> rusqlite::Result<Vec<Entry>> {
        match access {
            HistoryAccess::Tail { n } => self.tail(*n),
            HistoryAccess::Range { session, start, stop } => self.range(*session, *start, *stop),
            HistoryAccess::Search { pattern, n, unique } => self.search(pattern, *n, *unique),
        }
    }

    /// The last `n`: first of this session, then of the others, whatever runs beside.
    fn tail(&self, n: u32) -> rusqlite::Result<Vec<Entry>> {
        let sql = "SELECT session, line, source, output FROM cells
            ORDER BY session = ?1 DESC, session DESC, line DESC LIMIT ?2";
        self.newest(sql, params![self.session, n])
    }

    fn range(&self, session: i64, start: i64, stop: i64) -> rusqlite::Result<Vec<Entry>> {
        let session = if session <= 0 { self.session + session } else { session };
        let sql = "SELECT coalesce(max(line), 0) + 1 FROM cells WHERE session = ?1";
        let end: i64 = self.database.query_row(sql, [session], |row| row.get(0))?;
        let from_end = |line: i64| if line < 0 { line + end } else { line };
        let stop = if stop == 0 { end } else { from_end(stop) };
        let sql = "SELECT session, line, source, output FROM cells
            WHERE session = ?1 AND line >= ?2 AND line < ?3 ORDER BY line DESC";
        self.newest(sql, params![session, from_end(start), stop])
    }

    fn search(&self, pattern: &str, n: Option<u32>, unique: bool) -> rusqlite::Result<Vec<Entry>> {
        // The protocol has no classes of characters, and in Rust brackets are common.
        let pattern = pattern.replace('[', "[[]");
        let sql = "SELECT session, line, source, output FROM cells WHERE source GLOB ?1
            AND (NOT ?2 OR rowid IN (SELECT max(rowid) FROM cells GROUP BY source))
            ORDER BY session DESC, line DESC LIMIT ?3";
        self.newest(sql, params![pattern, unique, n.map_or(-1, i64::from)])
    }

    /// What `sql` finds, newest first, turned round.
    fn newest(&self, sql: &str, values: impl Params) -> rusqlite::Result<Vec<Entry>> {
        let mut statement = self.database.prepare_cached(sql)?;
        let found = statement.query_map(values, |row| {
            let (session, line) = (row.get(0)?, row.get(1)?);
            Ok(Entry { session, line, source: row.get(2)?, output: row.get(3)? })
        })?;
        let mut entries = found.collect::<rusqlite::Result<Vec<Entry>>>()?;
        entries.reverse();
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three sessions; the last is `store`'s.
    fn filled(file: &Path) -> Store {
        for session in ["a", "b"] {
            let store = Store::open(Some(file));
            (1..4).for_each(|line| store.record_input(line, &format!("{session}{line}")));
        }
        let store = Store::open(Some(file));
        store.record_input(1, "v[0]");
        store.record_input(2, "a1");
        store.record_output(2, "5");
        store
    }

    #[track_caller]
    fn check(access: HistoryAccess, expect: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let entries = filled(&folder.path().join("new/history.sqlite")).find(&access).unwrap();
        let sources: Vec<&str> = entries.iter().map(|entry| entry.source.as_str()).collect();
        assert_eq!(sources, expect, "{access:?}");
    }

    #[test]
    fn the_tail_reaches_into_earlier_sessions() {
        check(HistoryAccess::Tail { n: 2 }, &["v[0]", "a1"]);
        check(HistoryAccess::Tail { n: 4 }, &["b2", "b3", "v[0]", "a1"]);
        check(HistoryAccess::Tail { n: 99 }, &["a1", "a2", "a3", "b1", "b2", "b3", "v[0]", "a1"]);
        check(HistoryAccess::Tail { n: 0 }, &[]);
    }

    #[test]
    fn a_range_counts_sessions_and_lines_as_ipython_does() {
        let range = |session, start, stop| HistoryAccess::Range { session, start, stop };
        check(range(0, 1, 0), &["v[0]", "a1"]);
        check(range(0, 2, 3), &["a1"]);
        check(range(3, 1, 2), &["v[0]"]);
        check(range(-1, 2, 0), &["b2", "b3"]);
        check(range(1, 0, 3), &["a1", "a2"]);
        check(range(1, -1, 0), &["a3"]);
        check(range(1, 1, -1), &["a1", "a2"]);
        check(range(9, 1, 0), &[]);
    }

    #[test]
    fn a_search_understands_stars_and_question_marks_and_takes_brackets_as_they_are() {
        let search = |pattern: &str, n, unique| HistoryAccess::Search {
            pattern: pattern.to_owned(),
            n,
            unique,
        };
        check(search("a*", None, false), &["a1", "a2", "a3", "a1"]);
        check(search("a*", None, true), &["a2", "a3", "a1"]);
        check(search("a*", Some(2), false), &["a3", "a1"]);
        check(search("?2", None, false), &["a2", "b2"]);
        check(search("v[0]", None, false), &["v[0]"]);
        check(search("A*", None, false), &[]);
    }

    #[test]
    fn outputs_are_kept_beside_inputs() {
        let folder = tempfile::tempdir().unwrap();
        let store = filled(&folder.path().join("history.sqlite"));
        let entries = store.find(&HistoryAccess::Tail { n: 2 }).unwrap();
        assert_eq!(entries[1].shown(true), json!([3, 2, ["a1", "5"]]));
        assert_eq!(entries[0].shown(true), json!([3, 1, ["v[0]", null]]));
        assert_eq!(entries[0].shown(false), json!([3, 1, "v[0]"]));
    }

    #[test]
    fn a_place_that_cannot_be_written_falls_back_to_memory() {
        for place in [Some(Path::new("/proc/nowhere/history.sqlite")), None] {
            let store = Store::open(place);
            store.record_input(1, "x");
            assert_eq!(store.find(&HistoryAccess::Tail { n: 9 }).unwrap().len(), 1);
        }
    }
}
