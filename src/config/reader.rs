//! Reading tables strictly: each key is taken once, what is left over is an error, and every error knows its place.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml_span::value::{Table as Toml, ValueInner};
use toml_span::{Span, Value};

use super::{ConfigError, Problem};

/// The text of a file.
pub(super) struct Reader<'t> {
    path: &'t Path,
    text: &'t str,
}

/// A table of it, from which keys are taken.
pub(super) struct Table<'t> {
    reader: Reader<'t>,
    pub(super) name: String,
    pub(super) span: Span,
    content: Toml<'t>,
    asked: BTreeSet<&'static str>,
}

/// What may be said in a word or in full.
pub(super) enum TextOrTable<'t> {
    Text(String, Span),
    Table(Table<'t>),
}

impl<'t> Reader<'t> {
    pub(super) fn new(path: &'t Path, text: &'t str) -> Reader<'t> {
        Reader { path, text }
    }

    /// The whole file.
    pub(super) fn table(self) -> Result<Table<'t>, ConfigError> {
        let parsed = toml_span::parse(self.text);
        let mut value = parsed.map_err(|error| {
            let words = error.to_string();
            self.at(error.span, Problem::Toml(format!("not TOML: {words}")))
        })?;
        match value.take() {
            ValueInner::Table(content) => {
                Ok(Table { reader: self, name: String::new(), span: value.span, content, asked: BTreeSet::new() })
            }
            _ => Err(self.at(value.span, Problem::Toml("not TOML".to_owned()))),
        }
    }

    fn at(&self, span: Span, problem: Problem) -> ConfigError {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        ConfigError::Syntax { path: self.path.to_owned(), line, column, problem }
    }
}

impl<'t> Table<'t> {
    fn take(&mut self, key: &'static str) -> Option<Value<'t>> {
        self.asked.insert(key);
        self.content.remove(key)
    }

    /// An error at a place of this table.
    pub(super) fn illegal(&self, span: Span, key: &str, why: impl Display) -> ConfigError {
        self.reader.at(span, Problem::Illegal { key: key.to_owned(), why: why.to_string() })
    }

    pub(super) fn missing(&self, key: &'static str) -> ConfigError {
        self.reader.at(self.span, Problem::MissingKey { key, table: self.name.clone() })
    }

    fn wrong(&self, span: Span, key: &str, expected: &'static str, found: &ValueInner<'_>) -> ConfigError {
        let found = match found {
            ValueInner::String(_) => "text",
            ValueInner::Integer(_) | ValueInner::Float(_) => "a number",
            ValueInner::Boolean(_) => "true or false",
            ValueInner::Array(_) => "a list",
            ValueInner::Table(_) => "a table",
        };
        self.reader.at(span, Problem::WrongType { key: key.to_owned(), expected, found })
    }

    /// A text with its place.
    pub(super) fn spanned_text(&mut self, key: &'static str) -> Result<Option<(String, Span)>, ConfigError> {
        let Some(mut value) = self.take(key) else { return Ok(None) };
        match value.take() {
            ValueInner::String(text) if text.is_empty() => Err(self.illegal(value.span, key, "it is empty")),
            ValueInner::String(text) if text.contains('\0') => Err(self.illegal(value.span, key, "it has a NUL")),
            ValueInner::String(text) => Ok(Some((text.into_owned(), value.span))),
            other => Err(self.wrong(value.span, key, "text", &other)),
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, ConfigError> {
        Ok(self.spanned_text(key)?.map(|(text, _)| text))
    }

    /// A text that is read further.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((text, span)) = self.spanned_text(key)? else { return Ok(None) };
        parse(&text).map(Some).map_err(|error| self.illegal(span, key, error))
    }

    pub(super) fn one_of(&mut self, key: &'static str, words: &[&str]) -> Result<Option<String>, ConfigError> {
        self.parsed(key, |text| match words.contains(&text) {
            true => Ok(text.to_owned()),
            false => Err(format!("'{text}' is none of {}", words.join(", "))),
        })
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        let Some(mut value) = self.take(key) else { return Ok(None) };
        match value.take() {
            ValueInner::Boolean(flag) => Ok(Some(flag)),
            other => Err(self.wrong(value.span, key, "true or false", &other)),
        }
    }

    /// A whole number, read as its digits are.
    pub(super) fn whole<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(mut value) = self.take(key) else { return Ok(None) };
        match value.take() {
            ValueInner::Integer(number) => parse(&number.to_string()).map(Some).map_err(|error| self.illegal(value.span, key, error)),
            other => Err(self.wrong(value.span, key, "a whole number", &other)),
        }
    }

    pub(super) fn seconds(&mut self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        let Some(mut value) = self.take(key) else { return Ok(None) };
        let seconds = match value.take() {
            ValueInner::Integer(number) => number as f64,
            ValueInner::Float(number) => number,
            other => return Err(self.wrong(value.span, key, "a number of seconds", &other)),
        };
        match (0.0..=86_400.0).contains(&seconds) {
            true => Ok(Some(Duration::from_secs_f64(seconds))),
            false => Err(self.illegal(value.span, key, "expected 0 to 86400 seconds")),
        }
    }

    /// A list of texts; a single one may stand without brackets.
    pub(super) fn texts(&mut self, key: &'static str) -> Result<Vec<String>, ConfigError> {
        Ok(self.spanned_texts(key)?.0)
    }

    /// As [`Table::texts`], with the place.
    pub(super) fn spanned_texts(&mut self, key: &'static str) -> Result<(Vec<String>, Span), ConfigError> {
        let Some(mut value) = self.take(key) else { return Ok((Vec::new(), self.span)) };
        let texts = self.one_or_several(key, &mut value)?;
        Ok((texts.into_iter().map(|(text, _)| text).collect(), value.span))
    }

    /// A list of texts, each of which is read further; a single one may stand without brackets.
    pub(super) fn parsed_list<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, ConfigError> {
        let Some(mut value) = self.take(key) else { return Ok(Vec::new()) };
        let texts = self.one_or_several(key, &mut value)?;
        texts.into_iter().map(|(text, span)| parse(&text).map_err(|error| self.illegal(span, key, error))).collect()
    }

    fn one_or_several(&self, key: &'static str, value: &mut Value<'t>) -> Result<Vec<(String, Span)>, ConfigError> {
        let texts = match value.take() {
            ValueInner::String(text) => vec![(text.into_owned(), value.span)],
            ValueInner::Array(items) => self.items(key, items)?,
            other => return Err(self.wrong(value.span, key, "text or a list of texts", &other)),
        };
        match texts.iter().find(|(text, _)| text.is_empty()) {
            Some((_, span)) => Err(self.illegal(*span, key, "it is empty")),
            None => Ok(texts),
        }
    }

    /// A list of texts that must have its brackets; an argument may be empty.
    pub(super) fn list(&mut self, key: &'static str) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(mut value) = self.take(key) else { return Ok(None) };
        match value.take() {
            ValueInner::Array(items) => Ok(Some(self.items(key, items)?.into_iter().map(|(text, _)| text).collect())),
            other => Err(self.wrong(value.span, key, "a list of texts", &other)),
        }
    }

    fn items(&self, key: &'static str, items: Vec<Value<'t>>) -> Result<Vec<(String, Span)>, ConfigError> {
        let text = |mut item: Value<'t>| match item.take() {
            ValueInner::String(text) => Ok((text.into_owned(), item.span)),
            other => Err(self.wrong(item.span, key, "text", &other)),
        };
        items.into_iter().map(text).collect()
    }

    /// A path, relative to the folder of the file.
    pub(super) fn path(&mut self, key: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        Ok(self.text(key)?.map(|text| self.resolve(&text)))
    }

    pub(super) fn paths(&mut self, key: &'static str) -> Result<Vec<PathBuf>, ConfigError> {
        Ok(self.texts(key)?.iter().map(|text| self.resolve(text)).collect())
    }

    pub(super) fn resolve(&self, text: &str) -> PathBuf {
        self.folder().join(text)
    }

    /// The folder of the file.
    pub(super) fn folder(&self) -> &Path {
        self.reader.path.parent().unwrap_or(Path::new("/"))
    }

    /// Whether a key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.content.contains_key(key)
    }

    /// Makes a key known, whatever it says.
    pub(super) fn expect(&mut self, key: &'static str) {
        self.take(key);
    }

    /// A table in this one.
    pub(super) fn section(&mut self, key: &'static str) -> Result<Option<Table<'t>>, ConfigError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        self.nested(key.to_owned(), value).map(Some)
    }

    pub(super) fn text_or_section(&mut self, key: &'static str) -> Result<Option<TextOrTable<'t>>, ConfigError> {
        let Some(mut value) = self.take(key) else { return Ok(None) };
        match value.take() {
            ValueInner::String(text) if text.is_empty() => Err(self.illegal(value.span, key, "it is empty")),
            ValueInner::String(text) if text.contains('\0') => Err(self.illegal(value.span, key, "it has a NUL")),
            ValueInner::String(text) => Ok(Some(TextOrTable::Text(text.into_owned(), value.span))),
            ValueInner::Table(content) => Ok(Some(TextOrTable::Table(self.inner(key.to_owned(), value.span, content)))),
            other => Err(self.wrong(value.span, key, "text or a table", &other)),
        }
    }

    /// All that is left, as tables, in the order of the file.
    pub(super) fn sections(&mut self) -> Result<Vec<Table<'t>>, ConfigError> {
        let mut left: Vec<_> = std::mem::take(&mut self.content).into_iter().collect();
        left.sort_by_key(|(key, _)| key.span.start);
        left.into_iter().map(|(key, value)| self.nested(key.name.into_owned(), value)).collect()
    }

    fn nested(&self, name: String, mut value: Value<'t>) -> Result<Table<'t>, ConfigError> {
        match value.take() {
            ValueInner::Table(content) => Ok(self.inner(name, value.span, content)),
            other => Err(self.wrong(value.span, &name, "a table", &other)),
        }
    }

    fn inner(&self, name: String, span: Span, content: Toml<'t>) -> Table<'t> {
        let reader = Reader { path: self.reader.path, text: self.reader.text };
        Table { reader, name, span, content, asked: BTreeSet::new() }
    }

    /// Refuses what nobody asked for.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        let first = self.content.into_keys().min_by_key(|key| key.span.start);
        let Some(key) = first else { return Ok(()) };
        let known: Vec<&'static str> = self.asked.into_iter().collect();
        let likeness = |known: &&&str| strsim::jaro_winkler(&key.name, known);
        let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).filter(|known| likeness(known) >= ALIKE);
        let problem = Problem::UnknownKey { key: key.name.to_string(), nearest: nearest.map(|name| (*name).to_owned()), known };
        Err(self.reader.at(key.span, problem))
    }
}

/// From here on two words are taken for one another.
const ALIKE: f64 = 0.75;
