//! A hook's command line: words, and placeholders within them.
//!
//! Words are divided first, once, when the text is parsed; values come in later and only within a word. So there is nothing in a value that
//! could have a meaning: no quote, no blank, no `$(…)`.

use super::HookEvent;

/// Why a text is no command line for a hook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookSyntaxError {
    /// There is nothing to run.
    #[error("the command line names no program")]
    Empty,
    /// A quote is opened and not closed.
    #[error("the command line has a {quote} that is not closed")]
    OpenQuote {
        /// The quote.
        quote: char,
    },
    /// The last character is a backslash.
    #[error("the command line ends in a backslash")]
    LoneBackslash,
    /// No argument can hold this character.
    #[error("the command line has a NUL character")]
    Nul,
    /// The program would depend on the event.
    #[error("the hook's program '{program}' has a placeholder; only arguments may")]
    ProgramNotFixed {
        /// The first word.
        program: String,
    },
    /// There is no such placeholder.
    #[error("unknown placeholder '{{{name}}}', known are {}; a brace itself is written twice", known())]
    UnknownPlaceholder {
        /// What stands between the braces.
        name: String,
    },
    /// A brace has no partner.
    #[error("the word '{word}' has a brace without its partner; a brace itself is written twice")]
    LoneBrace {
        /// The word that has it.
        word: String,
    },
}

/// Divides a command line into words, by blanks, as sh does where it expands nothing.
pub(in crate::ops) fn words(text: &str) -> Result<Vec<String>, HookSyntaxError> {
    if text.contains('\0') {
        return Err(HookSyntaxError::Nul);
    }
    let mut words = Vec::new();
    // None between words: an empty pair of quotes is a word, a blank is none.
    let mut word: Option<String> = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' | '"' => quoted(c, &mut rest, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(rest.next().ok_or(HookSyntaxError::LoneBackslash)?),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// The command line with its program looked for in a folder, where that is named by a relative path; a bare name is left to PATH. What is
/// `doubled` stands twice where the folder has it, as braces of a hook do.
pub(in crate::ops) fn rooted(text: &str, folder: &str, doubled: &[char]) -> Result<String, HookSyntaxError> {
    let words = words(text)?;
    let Some((program, arguments)) = words.split_first().filter(|(program, _)| program.contains('/') && !program.starts_with('/')) else {
        return Ok(text.to_owned());
    };
    let folder: String = folder.chars().flat_map(|c| std::iter::repeat_n(c, if doubled.contains(&c) { 2 } else { 1 })).collect();
    let program = format!("{}/{}", folder.trim_end_matches('/'), program.strip_prefix("./").unwrap_or(program));
    Ok(std::iter::once(&program).chain(arguments).map(|word| quoted_word(word)).collect::<Vec<_>>().join(" "))
}

fn quoted_word(word: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !matches!(c, '\'' | '"' | '\\');
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// Takes the text up to the closing quote.
fn quoted(quote: char, rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), HookSyntaxError> {
    loop {
        match rest.next().ok_or(HookSyntaxError::OpenQuote { quote })? {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match rest.next().ok_or(HookSyntaxError::OpenQuote { quote })? {
                '\n' => {}
                c @ ('"' | '\\' | '$' | '`') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

/// One word, with the places that values fill.
#[derive(Debug, Clone)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Fixed(String),
    Value(Value),
}

/// Takes one text out of an event.
type Value = for<'t, 'e> fn(&'t HookEvent<'e>) -> &'e str;

impl Template {
    /// Parses one word.
    pub(super) fn parse(word: &str) -> Result<Template, HookSyntaxError> {
        let lone = || HookSyntaxError::LoneBrace { word: word.to_owned() };
        let (mut parts, mut fixed, mut rest) = (Vec::new(), String::new(), word);
        while let Some(at) = rest.find(['{', '}']) {
            fixed.push_str(&rest[..at]);
            let (brace, behind) = rest[at..].split_at(1);
            if let Some(behind) = behind.strip_prefix(brace) {
                fixed.push_str(brace);
                rest = behind;
                continue;
            }
            let (name, behind) = behind.split_once('}').filter(|_| brace == "{").ok_or_else(lone)?;
            let known = PLACEHOLDERS.iter().find(|(known, _)| *known == name);
            let (_, value) = known.ok_or_else(|| HookSyntaxError::UnknownPlaceholder { name: name.to_owned() })?;
            parts.extend([Part::Fixed(std::mem::take(&mut fixed)), Part::Value(*value)]);
            rest = behind;
        }
        parts.push(Part::Fixed(fixed + rest));
        Ok(Template(parts))
    }

    /// The word, where it depends on no event.
    pub(super) fn into_fixed(self) -> Option<String> {
        let fixed = |part| match part {
            Part::Fixed(text) => Some(text),
            Part::Value(_) => None,
        };
        self.0.into_iter().map(fixed).collect()
    }

    /// The word for one event.
    pub(super) fn fill(&self, event: &HookEvent<'_>) -> String {
        let text = |part: &Part| match part {
            Part::Fixed(text) => text.clone(),
            Part::Value(value) => single_line(value(event)),
        };
        self.0.iter().map(text).collect()
    }
}

/// A value as it may stand in an argument: no NUL, which would cut it, and no control character, which would make two lines of one in the
/// log of a site. Standard input has the exact text. A value is cut where it would make the argument too long for the system (128 KiB on
/// Linux): an event with a very long reason must not go unheard.
pub(super) fn single_line(value: &str) -> String {
    let fits = |&(at, c): &(usize, char)| at + c.len_utf8() <= VALUE_BYTES;
    let kept = value.char_indices().take_while(fits);
    let mut text: String = kept.map(|(_, c)| if c.is_control() { ' ' } else { c }).collect();
    text.push_str(if value.len() > VALUE_BYTES { "…" } else { "" });
    text
}

fn known() -> String {
    let names: Vec<String> = PLACEHOLDERS.iter().map(|(name, _)| format!("{{{name}}}")).collect();
    names.join(", ")
}

const PLACEHOLDERS: [(&str, Value); 9] = [
    ("event", |event| event.event),
    ("actor", |event| event.actor),
    ("action", |event| event.action),
    ("reason", |event| event.reason),
    ("bundle", |event| event.bundle),
    ("outcome", |event| event.outcome),
    ("time", |event| event.time),
    ("host", |event| event.host),
    ("vault", |event| event.vault),
];

const VALUE_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divides_words_as_sh_does() {
        for (text, expected) in [
            (" a\tb\n c ", &["a", "b", "c"][..]),
            (r#"'a b' "c d" e\ f"#, &["a b", "c d", "e f"]),
            (r#"a'b'"c"d '' """#, &["abcd", "", ""]),
            (r#"'\' "\\\"\$\`\n" \'\"\\"#, &["\\", "\\\"$`\\n", "'\"\\"]),
            ("$HOME $(id) `id` ~ * a;b|c&d>e #f", &["$HOME", "$(id)", "`id`", "~", "*", "a;b|c&d>e", "#f"]),
            ("Größe\u{a0}日本", &["Größe\u{a0}日本"]),
        ] {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_has_no_end() {
        use HookSyntaxError::{LoneBackslash, Nul, OpenQuote};
        for (text, error) in [
            ("a 'b", OpenQuote { quote: '\'' }),
            ("a \"b\\", OpenQuote { quote: '"' }),
            ("a \"b\\\"", OpenQuote { quote: '"' }),
            ("a b\\", LoneBackslash),
            ("a\0b", Nul),
        ] {
            assert_eq!(words(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_value_that_looks_like_a_placeholder_is_not_filled_again() {
        let event = HookEvent { json: "{}", ..event_of("{actor}", "{{x}}") };
        assert_eq!(Template::parse("{reason}{{{actor}}}").unwrap().fill(&event), "{actor}{{{x}}}");
    }

    #[test]
    fn programs_are_looked_for_in_a_folder() {
        let same = ["true", "/bin/true x", "systemctl stop 'a b'"];
        assert!(same.iter().all(|text| rooted(text, "/etc/x", &[]).as_deref() == Ok(*text)));
        assert_eq!(rooted("./stop.sh now", "/etc/x", &[]).as_deref(), Ok("/etc/x/stop.sh now"));
        for folder in ["/o'dd \"one\"", "/a {b}", "/a\\b c", "/"] {
            let text = rooted("bin/log \"it's\" '' {event}", folder, &['{', '}']).unwrap();
            let words = words(&text).unwrap();
            assert_eq!(words[1..], ["it's", "", "{event}"], "{text}");
            let program = Template::parse(&words[0]).unwrap().into_fixed();
            assert_eq!(program.unwrap(), format!("{}/bin/log", folder.trim_end_matches('/')), "{text}");
        }
        assert!(rooted("./x 'open", "/", &[]).is_err());
    }

    #[test]
    fn values_are_one_line_and_fit_an_argument() {
        assert_eq!(single_line("a\0b\nc\u{1b}[2J\u{85}d\u{7f}"), "a b c [2J d ");
        let long = single_line(&"ö".repeat(VALUE_BYTES));
        assert_eq!((long.len(), long.ends_with("ö…")), (VALUE_BYTES + "…".len(), true));
    }

    fn event_of<'e>(reason: &'e str, actor: &'e str) -> HookEvent<'e> {
        HookEvent { json: "", event: "", actor, action: "", reason, bundle: "", outcome: "", time: "", host: "", vault: "" }
    }
}
