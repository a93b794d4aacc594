//! The analyst's process: rust-analyzer, fed with whole sources. Beside [`super::workspace`] the
//! only place that names rust-analyzer.

use std::cmp::Reverse;
use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{io, process, thread};

use crossbeam_channel::{Receiver, unbounded};
use ra_ap_hir::PrefixKind;
use ra_ap_ide::{
    CompletionConfig, CompletionFieldsToResolve, CompletionItem, CompletionItemKind, FilePosition,
    FileRange, HoverConfig, HoverDocFormat, RaFixtureConfig, SubstTyLen, SymbolKind, TextRange,
    TextSize,
};
use ra_ap_ide_db::imports::insert_use::{ImportGranularity, InsertUseConfig};

use super::question::{Answer, Ask, Question};
use super::source::{HIDDEN, word_before};
use super::workspace::Workspace;
use crate::stage::Completion;

/// What is asked first, so that the user's first question finds everything read.
const TYPICAL: &str = "fn f() { let v = vec![1.0]; v.iter().";

/// Answers questions from standard input; ends with it, whatever is being read then.
pub fn serve() {
    let mut workspace = None;
    for question in questions() {
        let id = question.id;
        // rust-analyzer panics on some unfinished sources; the next question finds it well.
        let answer = catch_unwind(AssertUnwindSafe(|| answer(&mut workspace, question.ask)));
        let panicked = |_| Answer { failed: Some("it panicked".to_owned()), ..Answer::default() };
        let answer = Answer { id, ..answer.unwrap_or_else(panicked) };
        let line = serde_json::to_string(&answer).expect("plain data");
        let mut out = io::stdout().lock();
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

/// The questions, read by a thread so that the kernel can always write.
fn questions() -> Receiver<Question> {
    let (send, questions) = unbounded();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if let Ok(question) = serde_json::from_str(&line) {
                let _ = send.send(question);
            }
        }
        process::exit(0);
    });
    questions
}

fn answer(workspace: &mut Option<Workspace>, ask: Ask) -> Answer {
    match ask {
        Ask::Load { manifest } => {
            // Two at a time would need twice the memory.
            *workspace = None;
            match Workspace::load(&manifest) {
                Ok(mut loaded) => {
                    complete(&mut loaded, TYPICAL.to_owned(), TYPICAL.len());
                    *workspace = Some(loaded);
                    Answer::default()
                }
                Err(why) => Answer { failed: Some(why), ..Answer::default() },
            }
        }
        Ask::Complete { source, position } => {
            let matches = workspace.as_mut().map(|w| complete(w, source, position));
            Answer { matches: matches.unwrap_or_default(), ..Answer::default() }
        }
        Ask::Inspect { source, position } => {
            let documentation = workspace.as_mut().and_then(|w| inspect(w, source, position));
            Answer { documentation, ..Answer::default() }
        }
    }
}

fn complete(workspace: &mut Workspace, source: String, position: usize) -> Vec<Completion> {
    let word = word_before(&source, position).to_owned();
    let Some(offset) = offset(position) else { return Vec::new() };
    workspace.set(source);
    let place = FilePosition { file_id: workspace.file, offset };
    let items = workspace.host.analysis().completions(&offers(), place, None);
    let mut items = items.ok().flatten().unwrap_or_default();
    items.sort_by_key(|item| Reverse(item.relevance.score()));
    let mut matches: Vec<Completion> = Vec::new();
    for offer in items.into_iter().filter_map(|item| offer(item, &word)) {
        if !matches.iter().any(|m| m.text == offer.text) {
            matches.push(offer);
        }
    }
    matches
}

/// An item as it is offered in place of `word`, if it fits there.
fn offer(item: CompletionItem, word: &str) -> Option<Completion> {
    let edits: Vec<_> = item.text_edit.iter().collect();
    let [edit] = edits.as_slice() else { return None };
    let text = edit.insert.trim_end();
    let fits = text.starts_with(word) && !text.is_empty() && !text.starts_with(HIDDEN);
    let kind = kind(item.kind).to_owned();
    // That it is visible inside of the cell's function says nothing.
    let signature = item.detail.map(|detail| detail.replace("pub(in ...) ", ""));
    fits.then(|| Completion { text: text.to_owned(), kind, signature })
}

fn inspect(workspace: &mut Workspace, source: String, position: usize) -> Option<(String, String)> {
    let range = TextRange::empty(offset(position)?);
    workspace.set(source);
    let analysis = workspace.host.analysis();
    let hover = |format| {
        let place = FileRange { file_id: workspace.file, range };
        let found = analysis.hover(&tooltip(format), place).ok().flatten()?;
        Some(found.info.markup.to_string().trim().to_owned())
    };
    Some((hover(HoverDocFormat::PlainText)?, hover(HoverDocFormat::Markdown)?))
}

fn offset(position: usize) -> Option<TextSize> {
    u32::try_from(position).ok().map(TextSize::new)
}

/// Names as they are written: no calls with placeholders, no snippets, no imports to add.
fn offers() -> CompletionConfig<'static> {
    CompletionConfig {
        enable_postfix_completions: false,
        enable_imports_on_the_fly: false,
        enable_self_on_the_fly: false,
        enable_auto_iter: false,
        enable_auto_await: false,
        enable_private_editable: false,
        enable_term_search: false,
        term_search_fuel: 0,
        full_function_signatures: true,
        callable: None,
        add_colons_to_module: false,
        add_semicolon_to_unit: false,
        snippet_cap: None,
        insert_use: InsertUseConfig {
            granularity: ImportGranularity::Item,
            enforce_granularity: false,
            prefix_kind: PrefixKind::ByCrate,
            group: false,
            skip_glob_imports: false,
        },
        prefer_no_std: false,
        prefer_prelude: false,
        prefer_absolute: false,
        snippets: Vec::new(),
        limit: None,
        fields_to_resolve: CompletionFieldsToResolve::empty(),
        exclude_flyimport: Vec::new(),
        exclude_traits: &[],
        ra_fixture: RaFixtureConfig::default(),
    }
}

fn tooltip(format: HoverDocFormat) -> HoverConfig<'static> {
    HoverConfig {
        links_in_hover: true,
        memory_layout: None,
        documentation: true,
        keywords: true,
        format,
        max_trait_assoc_items_count: Some(5),
        max_fields_count: Some(5),
        max_enum_variants_count: Some(5),
        max_subst_ty_len: SubstTyLen::Unlimited,
        show_drop_glue: false,
        ra_fixture: RaFixtureConfig::default(),
    }
}

/// The kind that a front end shows.
fn kind(kind: CompletionItemKind) -> &'static str {
    use SymbolKind as S;
    let CompletionItemKind::SymbolKind(symbol) = kind else {
        return match kind {
            CompletionItemKind::Keyword => "keyword",
            CompletionItemKind::BuiltinType => "type",
            _ => "instance",
        };
    };
    match symbol {
        S::Function => "function",
        S::Method => "method",
        S::Struct => "struct",
        S::Enum => "enum",
        S::Union => "union",
        S::Trait => "trait",
        S::TypeAlias | S::TypeParam | S::SelfType => "type",
        S::Module | S::CrateRoot | S::ToolModule => "module",
        S::Const | S::ConstParam => "const",
        S::Static => "static",
        S::Variant => "variant",
        S::Field => "field",
        S::Macro | S::ProcMacro | S::Derive | S::DeriveHelper => "macro",
        _ => "instance",
    }
}
